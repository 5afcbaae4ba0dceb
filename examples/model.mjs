/**
 * The model itself, in the steps of transformers: features, encoder, tokens, logits.
 *
 *     node examples/model.mjs
 */
import { WhisperModel } from 'onehead';

const model = await WhisperModel.load(); // the bundled model
const features = await model.features(new Float32Array(160_000)); // [1, 80, 1000]
const encoded = await model.encode(features); // [1, 500, 128]
const [tokens] = await model.generate(encoded, { language: 'en', timestamps: 'segment', maxNewTokens: 64 });
const logits = await model.logits(encoded, [2757, 2758, 2760]); // [1, 3, 3266]
console.log(tokens, (await logits.toFloat32Array()).length);
model.dispose(); // not needed with `using model = ...` in TypeScript or Node.js 24
