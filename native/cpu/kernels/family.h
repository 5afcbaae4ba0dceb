// The kernels of one instruction set, each defined in the file of its name; table.cc lists them.
#pragma once

#include "../kernels.h"

namespace onehead::cpu::ONEHEAD_ISA {

void linearRows(const LinearRows&, const Team&);
void linearBytes(const LinearBytes&, const Team&);
void scatterHeads(const ScatterHeads&, const Team&);
float quantizeRow(const float* x, int64_t count, int8_t* q);
void layerNorm(const LayerNorm&, const Team&);
void attentionStreaming(const Attention&, const Team&);
void attentionDecode(const Attention&, const Team&);
void attentionBaseline(const Attention&, const Team&);
void softmax(const Softmax&, const Team&);
void logMel(const LogMel&, const Team&);
void transposeCast(const TransposeCast&, const Team&);
void embed(const Embed&, const Team&);
void nextToken(const NextToken&, const Team&);
void nextBeams(const NextBeams&, const Team&);
void alignPositions(const AlignPositions&, const Team&);
void addWeights(const AddWeights&, const Team&);
void tokenProbability(const TokenProbability&, const Team&);
void gatherRows(const GatherRows&, const Team&);
void convert(const void* from, SourceFormat fromFormat, void* to, Format toFormat, int64_t count);
void voiceActivity(const VoiceActivity&);

size_t linearRowsBytes(int64_t rows, int64_t depth);
size_t linearBytesBytes(int64_t rows, int64_t depth, int threads);
size_t attentionStreamingBytes(const Attention&, int threads);
size_t attentionDecodeBytes(const Attention&, int threads);
size_t attentionBaselineBytes(const Attention&, int threads);
size_t logMelBytes(const LogMel&, int threads);
size_t nextTokenBytes(int64_t batch, int threads);
size_t nextBeamsBytes(const NextBeams&, int threads);
size_t alignPositionsBytes(const AlignPositions&, int threads);

}  // namespace onehead::cpu::ONEHEAD_ISA
