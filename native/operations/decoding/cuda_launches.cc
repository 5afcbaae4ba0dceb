#include "cuda/preparation.h"

namespace onehead::cuda {

void prepare(Preparation& p, const TokenProbability& o) { p.kernel(argumentsOf(p, o), tokenProbability); }

void prepare(Preparation& p, const NextToken& o) {
  const NextTokenArguments made = argumentsOf(p, o);
  p.kernel(made, nextToken, nextTokenScratch(made), size_t(made.batch),
           [](NextTokenArguments& a, const Workspace& workspace) {
             a.scratch = workspace.scratch();
             a.counters = workspace.counters();
           });
}

void prepare(Preparation& p, const NextBeams& o) {
  const NextBeamsArguments a = argumentsOf(p, o);
  p.kernel(a, nextBeams, nextBeamsScratch(a), size_t(a.step.batch),
           [](NextBeamsArguments& here, const Workspace& workspace) {
             here.step.scratch = workspace.scratch();
             here.step.counters = workspace.counters();
           });
}

}  // namespace onehead::cuda
