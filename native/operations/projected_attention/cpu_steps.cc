#include "cpu/preparation.h"

namespace onehead::cpu {

void prepare(Preparation& p, const ProjectedAttention& o) {
  prepare(p, o.projection);
  prepare(p, o.attention);
}

}  // namespace onehead::cpu
