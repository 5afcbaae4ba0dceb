#include "operation.h"

#include "core/arguments.h"

namespace onehead {

Attention attention(const Arguments& arguments) {
  const Tensor& query = arguments.floating(arguments.tensor("query", 3, true), "query");
  const DType cached = arguments.has("keyScales") ? DType::int8 : query.dtype;
  const Tensor& key = arguments.typed(arguments.tensor("key", 3, true), "key", cached);
  auto algorithm = arguments.choice<AttentionAlgorithm>("algorithm",
                                                        {{"multi-head", AttentionAlgorithm::multiHead},
                                                         {"multi-query", AttentionAlgorithm::multiQuery},
                                                         {"multi-query-1", AttentionAlgorithm::multiQueryReshaped},
                                                         {"memory-efficient", AttentionAlgorithm::memoryEfficient},
                                                         {"split-kv", AttentionAlgorithm::splitKeyValue}},
                                                        "memory-efficient");
  const bool lengthFirst = algorithm == AttentionAlgorithm::multiQuery;
  int64_t batch = query.shape[lengthFirst ? 1 : 0], queries = query.shape[lengthFirst ? 0 : 1];
  int64_t keys = key.shape[lengthFirst ? 0 : 1];
  const bool ranges = arguments.has("keyBegin"), rows = arguments.has("rows");
  const bool pooled = ranges || rows || arguments.has("scoreRow");
  if (pooled && algorithm != AttentionAlgorithm::memoryEfficient && algorithm != AttentionAlgorithm::splitKeyValue)
    arguments.refuse("NOT_SUPPORTED",
                     ranges ? "keyBegin"
                     : rows ? "rows"
                            : "scoreRow",
                     "given with the algorithm 'memory-efficient' or 'split-kv'", "another algorithm");
  if (ranges != arguments.has("keyCount"))
    arguments.refuse("INVALID_ARGUMENT", "keyCount", "given together with keyBegin", "one of them alone");
  // Rows of the state, and of the keys and values: every entry's own, a pool's, or the one pool of positions.
  int64_t pool = !rows ? batch : ranges ? arguments.tensor("keyBegin", 1).shape[0] : key.shape[0];
  int64_t held = ranges ? 1 : pool;
  auto shape = [&](int64_t length, int64_t width, int64_t sequences) {
    return lengthFirst ? Shape{length, sequences, width} : Shape{sequences, length, width};
  };
  int64_t heads = arguments.integer("heads", 1, query.shape[2]);
  int64_t keyValueHeads = arguments.integer("keyValueHeads", 1, heads, double(heads));
  if (query.shape[2] % heads)
    arguments.refuse("INVALID_SHAPE", "query", "[batch, length, heads * head size]", toString(query.shape));
  if (heads % keyValueHeads)
    arguments.refuse("INVALID_ARGUMENT", "keyValueHeads", "a divisor of " + std::to_string(heads) + " heads",
                     std::to_string(keyValueHeads));
  bool shared = lengthFirst || algorithm == AttentionAlgorithm::multiQueryReshaped;
  if (shared && keyValueHeads != 1)
    arguments.refuse("NOT_SUPPORTED", "keyValueHeads", "1, which is what multi-query attention is about",
                     std::to_string(keyValueHeads));
  int64_t size = query.shape[2] / heads;
  if (size > 256) arguments.refuse("NOT_SUPPORTED", "query", "of head size 256 at most", std::to_string(size));
  arguments.shaped("key", shape(keys, keyValueHeads * size, held), true);
  const Tensor& value =
      arguments.typed(arguments.shaped("value", shape(keys, keyValueHeads * size, held), true), "value", cached);
  if (arguments.has("keyScales") != arguments.has("valueScales"))
    arguments.refuse("INVALID_ARGUMENT", "valueScales", "given together with keyScales", "one of them alone");
  if (cached == DType::int8 && algorithm != AttentionAlgorithm::splitKeyValue)
    arguments.refuse("NOT_SUPPORTED", "keyScales", "given with the algorithm 'split-kv'", "another algorithm");
  if (cached == DType::int8 && !(key.contiguous() && value.contiguous()))
    arguments.refuse("INVALID_ARGUMENT", "key", "a whole tensor where it is int8", "a view of some of its columns");
  bool causal = arguments.integer("causal", 0, 1, 0) == 1, append = arguments.has("newKey");
  if (append != arguments.has("newValue"))
    arguments.refuse("INVALID_ARGUMENT", "newValue", "given together with newKey", "one of them alone");
  if (ranges && (append || causal || arguments.has("start")))
    arguments.refuse("INVALID_ARGUMENT", "keyBegin", "given without append, causal and start", "one of these");
  if (append && !arguments.has("start"))
    arguments.refuse("INVALID_ARGUMENT", "start", "given where keys are appended", "nothing");
  if (queries > keys && (causal || append))
    arguments.refuse("INVALID_SHAPE", "query",
                     "at most as long as the keys (" + std::to_string(keys) + ") when causal or appending",
                     std::to_string(queries));
  std::optional<Tensor> newKey, newValue;
  if (append) {
    Shape rows = shape(queries, keyValueHeads * size, batch);
    newKey = arguments.typed(arguments.shaped("newKey", rows, true), "newKey", query.dtype);
    newValue = arguments.typed(arguments.shaped("newValue", rows, true), "newValue", query.dtype);
    if (newKey->rowStride != newValue->rowStride)
      arguments.refuse("INVALID_ARGUMENT", "newValue", "in rows as far apart as newKey's", "another row stride");
  }
  auto start = arguments.maybe("start", {pool}, DType::int32);
  auto source = arguments.maybe("source", {pool, keys}, DType::int32);
  if (source && (algorithm != AttentionAlgorithm::splitKeyValue || !start || !causal))
    arguments.refuse("NOT_SUPPORTED", "source", "given with start, causal and the algorithm 'split-kv'",
                     "other arguments");
  std::optional<Tensor> scores, scoreHeads, scorePosition, scoreRow;
  if (arguments.has("scores")) {
    if (shared) arguments.refuse("NOT_SUPPORTED", "scores", "absent for the multi-query algorithms", "a tensor");
    if (pooled && queries != 1)
      arguments.refuse("NOT_SUPPORTED", "scores", "of one query an entry where rows of a pool are chosen",
                       std::to_string(queries));
    scores = arguments.typed(arguments.tensor("scores", 4), "scores", DType::float32);
    scoreRow = arguments.maybe("scoreRow", {pool}, DType::int32);
    if ((!scoreRow && scores->shape[0] != batch * queries) || (!pooled && scores->shape[3] != keys))
      arguments.refuse("INVALID_SHAPE", "scores",
                       "[" + std::to_string(batch * queries) + ", positions, heads, " + std::to_string(keys) + "]",
                       toString(scores->shape));
    scoreHeads = arguments.shaped("scoreHeads", {heads}, DType::int32);
    scorePosition = arguments.shaped("scorePosition", {pool * queries}, DType::int32);
  } else if (arguments.has("scoreRow")) {
    arguments.refuse("INVALID_ARGUMENT", "scoreRow", "given together with scores", "scoreRow alone");
  }
  return {.query = query,
          .key = key,
          .value = value,
          .newKey = newKey,
          .newValue = newValue,
          .start = start,
          .heads = heads,
          .keyValueHeads = keyValueHeads,
          .headSize = size,
          .causal = causal,
          .scale = float(arguments.number("scale", 1 / std::sqrt(double(size)))),
          .algorithm = algorithm,
          .y = arguments.output(query.dtype, query.shape),
          .source = source,
          .scores = scores,
          .scoreHeads = scoreHeads,
          .scorePosition = scorePosition,
          .rows = arguments.maybe("rows", {batch}, DType::int32),
          .keyBegin = arguments.maybe("keyBegin", {pool}, DType::int32),
          .keyCount = arguments.maybe("keyCount", {pool}, DType::int32),
          .scoreRow = scoreRow,
          .keyScales = arguments.maybe("keyScales", {held, keys, keyValueHeads}, DType::float32),
          .valueScales = arguments.maybe("valueScales", {held, keys, keyValueHeads}, DType::float32)};
}

}  // namespace onehead
