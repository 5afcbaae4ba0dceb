/**
 * Uses the package in CommonJS; `require` returns the same names as `import`.
 *
 *     node examples/commonjs.cjs talk.mp3
 */
const { Whisper } = require('onehead');

async function main() {
  const whisper = await Whisper.load('openai/whisper-small');
  console.log((await whisper.transcribe(process.argv[2])).text.trim());
  whisper.dispose();
}

main();
