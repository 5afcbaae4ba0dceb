// Checks of the operations that choose tokens, and of those that work on what was chosen or move rows about.
#pragma once

#include "arguments.h"

namespace onehead {

Embed embed(const Arguments& arguments);
GatherRows gatherRows(const Arguments& arguments);
ScatterRows scatterRows(const Arguments& arguments);
TokenProbability tokenProbability(const Arguments& arguments);
NextToken nextToken(const Arguments& arguments);
NextBeams nextBeams(const Arguments& arguments);
AlignPositions alignPositions(const Arguments& arguments);
AddWeights addWeights(const Arguments& arguments);

}  // namespace onehead
