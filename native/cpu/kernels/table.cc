#include "table.h"

#include "family.h"

namespace onehead::cpu {
namespace ONEHEAD_ISA {
namespace {

void attention(const Attention& arguments, AttentionAlgorithm algorithm, const Team& team) {
  switch (algorithm) {
    case AttentionAlgorithm::multiHead:
      return attentionBaseline(arguments, team);
    case AttentionAlgorithm::memoryEfficient:
      return attentionStreaming(arguments, team);
    case AttentionAlgorithm::splitKeyValue:
      return attentionDecode(arguments, team);
  }
}

size_t attentionBytes(const Attention& arguments, AttentionAlgorithm algorithm, int threads) {
  switch (algorithm) {
    case AttentionAlgorithm::multiHead:
      return attentionBaselineBytes(arguments, threads);
    case AttentionAlgorithm::memoryEfficient:
      return attentionStreamingBytes(arguments, threads);
    case AttentionAlgorithm::splitKeyValue:
      return attentionDecodeBytes(arguments, threads);
  }
  return 0;
}

}  // namespace
}  // namespace ONEHEAD_ISA

// ONEHEAD_VARIANT and ONEHEAD_NAME come from sources.cmake, as ONEHEAD_ISA does.
const Variant ONEHEAD_VARIANT = {
    {ONEHEAD_NAME, ONEHEAD_ISA::linearRows, ONEHEAD_ISA::linearBytes, ONEHEAD_ISA::scatterHeads,
     ONEHEAD_ISA::quantizeRow, ONEHEAD_ISA::layerNorm, ONEHEAD_ISA::attention, ONEHEAD_ISA::softmax,
     ONEHEAD_ISA::logMel, ONEHEAD_ISA::transposeCast, ONEHEAD_ISA::embed, ONEHEAD_ISA::nextToken,
     ONEHEAD_ISA::nextBeams, ONEHEAD_ISA::alignPositions, ONEHEAD_ISA::addWeights, ONEHEAD_ISA::tokenProbability,
     ONEHEAD_ISA::gatherRows, ONEHEAD_ISA::convert, ONEHEAD_ISA::voiceActivity},
    ONEHEAD_ISA::linearRowsBytes,
    ONEHEAD_ISA::linearBytesBytes,
    ONEHEAD_ISA::attentionBytes,
    ONEHEAD_ISA::logMelBytes,
    ONEHEAD_ISA::nextTokenBytes,
    ONEHEAD_ISA::nextBeamsBytes,
    ONEHEAD_ISA::alignPositionsBytes,
};

}  // namespace onehead::cpu
