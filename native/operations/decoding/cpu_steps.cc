#include "cpu/plain_kernels.h"
#include "cpu/preparation.h"

namespace onehead::cpu {

void prepare(Preparation& p, const TokenProbability& o) { p.kernel(argumentsOf(p, o), p.kernels.tokenProbability); }

void prepare(Preparation& p, const NextToken& o) {
  const NextTokenArguments arguments = argumentsOf(p, o);
  p.kernel(Advance{.next = arguments, .scratch = nullptr, .kernel = p.kernels.nextToken}, advance,
           p.kernels.nextToken.scratchBytes(arguments, p.threads));
}

void prepare(Preparation& p, const NextBeams& o) { p.kernel(argumentsOf(p, o), p.kernels.nextBeams); }

}  // namespace onehead::cpu
