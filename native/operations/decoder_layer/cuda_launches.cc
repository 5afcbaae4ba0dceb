#include "cuda_launches.h"

#include "../linear/cuda_launches.h"
#include "../projected_attention/cuda_launches.h"

namespace onehead::cuda {

namespace {

constexpr size_t operationCount = 6;

/** The operations of a layer; null if an operation is of another kind. */
struct Layer {
  const ProjectedAttention *self = nullptr, *cross = nullptr;
  const Linear *out = nullptr, *crossOut = nullptr, *up = nullptr, *down = nullptr;
};

Layer layerAt(const Plan& plan, size_t first) {
  if (first + operationCount > plan.operations.size()) return {};
  auto description = [&](size_t i) { return &plan.operations[first + i].description; };
  return {.self = std::get_if<ProjectedAttention>(description(0)),
          .cross = std::get_if<ProjectedAttention>(description(2)),
          .out = std::get_if<Linear>(description(1)),
          .crossOut = std::get_if<Linear>(description(3)),
          .up = std::get_if<Linear>(description(4)),
          .down = std::get_if<Linear>(description(5))};
}

bool same(const Tensor& a, const Tensor& b) {
  return a.storage == b.storage && a.temporary == b.temporary && a.offset == b.offset && a.contiguous() &&
         b.contiguous() && a.elements() == b.elements() && a.dtype == b.dtype;
}

/** Whether a tensor exists only in the program, and no operation after this one reads it. */
bool endsAt(const Plan& plan, const Tensor& tensor, size_t operation) {
  return tensor.temporary != noTemporary && plan.temporaries[size_t(tensor.temporary)].lastUse == int64_t(operation);
}

/** Whether it is a product of the norm of x (float32) with output in the weight's type. */
bool isNormed(const Linear& o) {
  return o.normWeight && o.x.contiguous() && o.x.dtype == DType::float32 && !o.residual && !o.weightScales &&
         o.y.dtype == o.weight.dtype;
}
/** Whether it is a product of x, in the weight's type, that is added to the residual stream. */
bool addsTo(const Linear& o, const Tensor& x, const Tensor& residual) {
  return !o.normWeight && same(o.x, x) && o.x.dtype == o.weight.dtype && o.residual && same(*o.residual, residual) &&
         !o.weightScales && o.y.dtype == DType::float32 && o.activation == Activation::none;
}

bool isLayer(const Plan& plan, size_t first, const Layer& l) {
  if (!l.self || !l.out || !l.cross || !l.crossOut || !l.up || !l.down) return false;
  const Linear &queryKeyValue = l.self->projection, &query = l.cross->projection;
  const Attention &self = l.self->attention, &cross = l.cross->attention;
  const bool products = isNormed(queryKeyValue) && queryKeyValue.activation == Activation::none &&
                        addsTo(*l.out, self.y, queryKeyValue.x) && isNormed(query) &&
                        query.activation == Activation::none && same(query.x, l.out->y) &&
                        addsTo(*l.crossOut, cross.y, l.out->y) && isNormed(*l.up) && same(l.up->x, l.crossOut->y) &&
                        addsTo(*l.down, l.up->y, l.crossOut->y);
  const bool attentions = self.algorithm == AttentionAlgorithm::splitKeyValue && cross.algorithm == self.algorithm &&
                          self.newKey && self.causal && !cross.newKey && !cross.causal &&
                          cross.key.storage != self.key.storage && cross.value.storage != self.value.storage;
  return products && attentions && endsAt(plan, queryKeyValue.y, first) && endsAt(plan, self.y, first + 1) &&
         endsAt(plan, l.out->y, first + 3) && endsAt(plan, query.y, first + 2) && endsAt(plan, cross.y, first + 3) &&
         endsAt(plan, l.crossOut->y, first + 5) && endsAt(plan, l.up->y, first + 5);
}

}  // namespace

size_t prepareDecoderLayer(Preparation& p, const Plan& plan, size_t first) {
  const Launcher& launcher = p.launcher();
  if (launcher.fusion == Fusion::never || !launcher.clusters) return 0;
  const Layer l = layerAt(plan, first);
  if (!isLayer(plan, first, l) || l.self->projection.x.rows() != 1) return 0;
  const ProjectedAttentionArguments self = projectedOf(p, *l.self), cross = projectedOf(p, *l.cross);
  const DecoderLayerArguments arguments{
      .products = {self.projection, fewRowsOf(p, *l.out), cross.projection, fewRowsOf(p, *l.crossOut),
                   fewRowsOf(p, *l.up), fewRowsOf(p, *l.down)},
      .self = self.attention,
      .cross = cross.attention};
  const DriverLock lock;  // the occupancy query may load the kernel
  if (!decoderLayerFits(arguments, launcher)) return 0;
  if (launcher.fusion != Fusion::always && !decoderLayerPays(arguments, launcher)) return 0;
  p.part = "layer";
  p.kernel(arguments, decoderLayer);
  p.part = "";
  return operationCount;
}

}  // namespace onehead::cuda
