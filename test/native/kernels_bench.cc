// The kernels' speed beside what the machine can do: bytes read against streaming reads, operations against the peak.
// Usage: kernels_bench [-t threads] [-k instruction set] [part of a name ...]
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "ceilings.h"
#include "kernels.h"
#include "team.h"

using namespace onehead::cpu;

namespace {

const Kernels* chosen = kernels();
int threads = 2;
std::vector<std::string> wanted;
double bandwidth, float32Peak, bfloat16Peak;  // bytes and operations a second

/** Memory in huge pages, holding small numbers that are neither zero nor subnormal as float32 or bfloat16. */
class Memory {
 public:
  explicit Memory(size_t bytes) : bytes_((bytes + (2u << 20)) & ~size_t((2u << 20) - 1)) {
    data_ = static_cast<uint16_t*>(std::aligned_alloc(2u << 20, bytes_));
    madvise(data_, bytes_, MADV_HUGEPAGE);
    uint32_t state = 1;
    for (size_t i = 0; i < bytes_ / 2; ++i) {
      state = state * 1664525 + 1013904223;
      data_[i] = uint16_t(0x3c00 | (state >> 16 & 0x81ff));  // +-0.0078 ... 0.06
    }
  }
  ~Memory() { std::free(data_); }
  Memory(const Memory&) = delete;
  char* at(size_t byte = 0) { return reinterpret_cast<char*>(data_) + byte; }
  float* floats(size_t byte = 0) { return reinterpret_cast<float*>(at(byte)); }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_;
  uint16_t* data_;
};

double median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + long(values.size() / 2), values.end());
  return values[values.size() / 2];
}

struct Times {
  double seconds;  // median of the kernel's
  double ceiling;  // median of the bytes a second of plain reads between its runs; 0 without
};

/**
 * Times job(i) for about 0.3 seconds. Where it reads `bytes` of the pool, plain reads of as many bytes elsewhere in it
 * take turns with the kernel: memory is shared with other machines, and its speed changes by half within seconds.
 */
template <typename Job>
Times time(ThreadTeam& team, Job job, Memory* pool = nullptr, size_t bytes = 0) {
  std::vector<double> seconds, reading;
  double total = 0;
  auto once = [&](auto task) {
    const auto begin = std::chrono::steady_clock::now();
    team.run(task);
    const double passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    total += passed;
    return passed;
  };
  for (size_t i = 0; (total < 0.3 || i < 5) && i < 20000; ++i) {
    seconds.push_back(once([&](const Team& member) { job(int(i), member); }));
    if (!pool) continue;
    const size_t copies = pool->bytes() / bytes;
    const char* other = pool->at((i + copies / 2) % copies * bytes);
    reading.push_back(once([&](const Team& member) { readShare(member, other, bytes); }));
  }
  seconds.erase(seconds.begin());
  return {median(seconds), pool ? double(bytes) / median(reading) : 0};
}

bool skipped(const std::string& name) {
  for (const std::string& part : wanted)
    if (name.find(part) != std::string::npos) return false;
  return !wanted.empty();
}

void report(const std::string& name, Times times, double amount, double ceiling, const char* unit) {
  const double seconds = times.seconds;
  if (times.ceiling > 0) ceiling = times.ceiling;
  std::printf("%-58s %9.1f us %8.1f %s %5.1f%%\n", name.c_str(), seconds * 1e6, amount / seconds / 1e9, unit,
              100 * amount / seconds / ceiling);
  std::fflush(stdout);
}

void linear(ThreadTeam& team, Memory& pool, int64_t rows, int64_t columns, int64_t depth, Format format, bool cold) {
  const size_t element = format == Format::float32 ? 4 : 2, size = size_t(columns * depth) * element;
  const std::string name = std::string("linearRows ") + (element == 4 ? "f32 " : "bf16 ") + std::to_string(rows) +
                           " x " + std::to_string(columns) + " x " + std::to_string(depth) +
                           (cold ? "" : " (in cache)");
  if (skipped(name)) return;
  Memory x(size_t(rows * depth) * 4), y(size_t(rows * columns) * 4), scratch(linearRowsScratch(rows, depth));
  Memory vectors(size_t(columns + depth) * 4);
  const size_t copies = cold ? pool.bytes() / size : 1;
  const Times times = time(
      team,
      [&](int i, const Team& member) {
        LinearRows a = {rows,
                        columns,
                        depth,
                        x.at(),
                        Format::float32,
                        depth,
                        pool.at(size_t(i) % copies * size),
                        format,
                        vectors.floats(),
                        vectors.floats(),
                        vectors.floats(),
                        1e-5f,
                        Activation::none,
                        nullptr,
                        y.at(),
                        Format::float32,
                        scratch.at()};
        chosen->linearRows(a, member);
      },
      cold ? &pool : nullptr, size);
  report(name, times, double(size), bandwidth, "GB/s");
}

void attention(ThreadTeam& team, Memory& pool, AttentionAlgorithm algorithm, int64_t batch, int64_t queries,
               int64_t keys, int64_t heads, int64_t keyValueHeads, Format format, bool self) {
  const char* names[] = {"multiHead", "memoryEfficient", "splitKeyValue"};
  const size_t element = format == Format::float32 ? 4 : 2;
  const std::string name = std::string(names[int(algorithm)]) + (element == 4 ? " f32 " : " bf16 ") + "batch " +
                           std::to_string(batch) + " " + std::to_string(queries) + " x " + std::to_string(keys) +
                           " heads " + std::to_string(heads) + "/" + std::to_string(keyValueHeads) +
                           (self ? " self" : "");
  if (skipped(name)) return;
  const int64_t headSize = 64, width = keyValueHeads * headSize, room = self ? 448 : keys;
  const size_t size = size_t(batch * room * width) * element;
  const bool decode = algorithm == AttentionAlgorithm::splitKeyValue;
  const size_t copies = decode ? pool.bytes() / 2 / size : 1;
  Memory q(size_t(batch * queries * heads * headSize) * element), y(q.bytes()), news(q.bytes());
  std::vector<int32_t> start(size_t(batch), int32_t(keys - queries));
  Attention a = {batch,
                 queries,
                 self ? room : keys,
                 heads,
                 keyValueHeads,
                 headSize,
                 format,
                 {q.at(), queries * heads * headSize, heads * headSize},
                 {nullptr, room * width, width},
                 {nullptr, room * width, width},
                 self,
                 self ? start.data() : nullptr,
                 self ? news.at() : nullptr,
                 self ? news.at() : nullptr,
                 queries * width,
                 width,
                 0.125f,
                 y.at(),
                 nullptr};
  Memory scratch(attentionScratch(a, algorithm, threads));
  a.scratch = scratch.at();
  const Times times = time(
      team,
      [&](int i, const Team& member) {
        Attention mine = a;
        mine.k.data = pool.at(size_t(i) % copies * 2 * size);
        mine.v.data = pool.at((size_t(i) % copies * 2 + 1) * size);
        chosen->attention(mine, algorithm, member);
      },
      decode ? &pool : nullptr, size_t(2 * batch * keys * width) * element);
  if (decode) return report(name, times, 2.0 * double(batch * keys * width) * double(element), bandwidth, "GB/s");
  const double operations = 4.0 * double(batch * heads * queries * headSize) * double(keys);
  report(name, times, operations, element == 4 ? float32Peak : bfloat16Peak, "GFLOP/s");
}

/** Windows of `beams` entries, each window with its own range of a pool of positions, of 1500 and fewer in turn. */
void ranges(ThreadTeam& team, Memory& pool, int64_t windows, int64_t beams, bool even, Format format) {
  const int64_t heads = 8, headSize = 64, width = heads * headSize, batch = windows * beams;
  const size_t element = format == Format::float32 ? 4 : 2;
  const std::string name = std::string("splitKeyValue") + (element == 4 ? " f32 " : " bf16 ") +
                           std::to_string(windows) + " windows of " + std::to_string(beams) + " in ranges" +
                           (even ? "" : " of 1500 to 256");
  if (skipped(name)) return;
  std::vector<int32_t> begin, count;
  int64_t positions = 0;
  for (int64_t window = 0; window < windows; ++window) {
    const int32_t counts[] = {1500, 256, 768, 512};
    for (int64_t beam = 0; beam < beams; ++beam) {
      begin.push_back(int32_t(positions));
      count.push_back(even ? 1500 : counts[window % 4]);
    }
    positions += count.back();
  }
  const size_t size = size_t(positions * width) * element, copies = pool.bytes() / 2 / size;
  Memory q(size_t(batch * width) * element), y(q.bytes());
  Attention a = {.batch = batch,
                 .queries = 1,
                 .keys = positions,
                 .heads = heads,
                 .keyValueHeads = heads,
                 .headSize = headSize,
                 .format = format,
                 .q = {q.at(), width, width},
                 .k = {nullptr, positions * width, width},
                 .v = {nullptr, positions * width, width},
                 .causal = false,
                 .start = nullptr,
                 .newKey = nullptr,
                 .newValue = nullptr,
                 .newBatchStride = 0,
                 .newRowStride = 0,
                 .scale = 0.125f,
                 .y = y.at(),
                 .scratch = nullptr,
                 .pool = batch,
                 .keyBegin = begin.data(),
                 .keyCount = count.data()};
  Memory scratch(attentionScratch(a, AttentionAlgorithm::splitKeyValue, threads));
  a.scratch = scratch.at();
  const Times times = time(
      team,
      [&](int i, const Team& member) {
        Attention mine = a;
        mine.k.data = pool.at(size_t(i) % copies * 2 * size);
        mine.v.data = pool.at((size_t(i) % copies * 2 + 1) * size);
        chosen->attention(mine, AttentionAlgorithm::splitKeyValue, member);
      },
      &pool, 2 * size);
  report(name, times, 2.0 * double(size), bandwidth, "GB/s");
}

void logMels(ThreadTeam& team, int64_t mels) {
  const std::string name = "logMel 3000 frames, " + std::to_string(mels) + " mels";
  if (skipped(name)) return;
  Memory samples(480240 * 4), window(1600), filters(size_t(mels) * 201 * 4), features(size_t(mels) * 3000 * 4);
  for (int64_t m = 0; m < mels; ++m)
    for (int64_t k = 0; k < 201; ++k)
      filters.floats()[m * 201 + k] =
          float(std::max(0.0, 1 - std::fabs(double(k) - double(m) * 201.0 / double(mels)) / 2.5));
  float peak = -INFINITY;
  LogMel a = {
      1, 3000, 400, 160, mels, samples.floats(), window.floats(), filters.floats(), &peak, features.floats(), nullptr};
  Memory scratch(logMelScratch(a, threads));
  a.scratch = scratch.at();
  const Times times = time(team, [&](int, const Team& member) { chosen->logMel(a, member); });
  report(name, times, double(480240 * 4 + mels * 12000), bandwidth, "GB/s");
}

void tokens(ThreadTeam& team, int64_t batch) {
  const std::string name = "nextToken batch " + std::to_string(batch);
  if (skipped(name)) return;
  const int64_t vocabulary = 51865;
  Memory logits(size_t(batch * vocabulary) * 4), scores(size_t(batch) * 448 * 4),
      scratch(nextTokenScratch(batch, threads));
  std::vector<uint8_t> suppressed(static_cast<size_t>(vocabulary));
  std::vector<int32_t> row(size_t(batch * 448), 50365), length(size_t(batch), 10), begin(size_t(batch), 4);
  std::vector<int32_t> minimum(size_t(batch), 0), maximum(size_t(batch), 400), ones(size_t(batch), 1);
  std::vector<int32_t> finished(size_t(batch), 0);
  const Times times = time(team, [&](int, const Team& member) {
    const NextToken a = {.batch = batch,
                         .vocabulary = vocabulary,
                         .capacity = 448,
                         .logits = logits.floats(),
                         .suppressed = suppressed.data(),
                         .endToken = 50257,
                         .timestampBegin = 50364,
                         .timestampEnd = int32_t(vocabulary),
                         .noTimestampsToken = 50363,
                         .maxInitialTimestamp = 50,
                         .tokens = row.data(),
                         .logProbability = scores.floats(),
                         .length = length.data(),
                         .begin = begin.data(),
                         .minimum = minimum.data(),
                         .maximum = maximum.data(),
                         .timestamps = ones.data(),
                         .finished = finished.data(),
                         .scratch = scratch.at()};
    chosen->nextToken(a, member);
    member.barrier();
    if (member.thread == 0) length.assign(size_t(batch), 10), finished.assign(size_t(batch), 0);
  });
  report(name, times, double(batch * vocabulary * 5), bandwidth, "GB/s");
}

void small(ThreadTeam& team) {
  Memory x(3000 * 1280 * 4), y(3000 * 1280 * 4), vectors(5120 * 4);
  for (int64_t width : {512, 1280}) {
    const std::string name = "layerNorm 1500 x " + std::to_string(width) + " to bf16";
    if (skipped(name)) continue;
    LayerNorm a = {1500, width, x.floats(), vectors.floats(), vectors.floats(), 1e-5f, y.at(), Format::bfloat16};
    const Times times = time(team, [&](int, const Team& member) { chosen->layerNorm(a, member); });
    report(name, times, double(1500 * width * 6), bandwidth, "GB/s");
  }
  if (!skipped("transposeCast 80 x 3000")) {
    TransposeCast a = {1, 80, 3000, x.floats(), y.at(), Format::bfloat16};
    const Times times = time(team, [&](int, const Team& member) { chosen->transposeCast(a, member); });
    report("transposeCast 80 x 3000 to bf16", times, 80 * 3000 * 6, bandwidth, "GB/s");
  }
  if (!skipped("convert")) {
    for (SourceFormat from : {SourceFormat::float32, SourceFormat::float16}) {
      const Times times = time(team, [&](int, const Team& member) {
        if (member.thread == 0) chosen->convert(x.at(), from, y.at(), Format::bfloat16, 3000 * 1280);
      });
      report(from == SourceFormat::float32 ? "convert f32 to bf16, one thread" : "convert f16 to bf16, one thread",
             times, 3000 * 1280 * (from == SourceFormat::float32 ? 6 : 4), bandwidth, "GB/s");
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "-t") && i + 1 < argc) {
      threads = std::atoi(argv[++i]);
    } else if (!std::strcmp(argv[i], "-k") && i + 1 < argc) {
      chosen = kernels(argv[++i]);
    } else {
      wanted.push_back(argv[i]);
    }
  }
  if (!chosen) return std::puts("This machine has not that instruction set."), 1;
  ThreadTeam team(threads);
  Memory pool(640u << 20);
  bandwidth = readBandwidth(team, pool.at(), pool.bytes());
  float32Peak = peakRate(team, threads, false);
  bfloat16Peak = peakRate(team, threads, true);
  std::printf("%s, %d threads; ceilings: %.1f GB/s, float32 %.0f and bfloat16 %.0f GFLOP/s\n", chosen->name, threads,
              bandwidth / 1e9, float32Peak / 1e9, bfloat16Peak / 1e9);

  for (Format format : {Format::bfloat16, Format::float32}) {
    for (int64_t width : {384, 512, 768, 1280}) {
      linear(team, pool, 1, width, width, format, true);
      linear(team, pool, 1, 4 * width, width, format, true);
      linear(team, pool, 1, width, 4 * width, format, true);
    }
    linear(team, pool, 1, 51865, 512, format, true);
    linear(team, pool, 1, 512, 512, format, false);
    linear(team, pool, 1, 384, 384, format, false);
    for (int64_t rows : {2, 4, 5, 8, 16}) linear(team, pool, rows, 2048, 512, format, true);
    for (int64_t rows : {8, 16}) linear(team, pool, rows, 512, 512, format, false);
    for (int64_t rows : {4, 8, 16}) linear(team, pool, rows, 51865, 512, format, true);
    for (int64_t heads : {6, 8, 12, 20})
      attention(team, pool, AttentionAlgorithm::splitKeyValue, 1, 1, 1500, heads, heads, format, false);
    attention(team, pool, AttentionAlgorithm::splitKeyValue, 1, 1, 1500, 8, 1, format, false);
    attention(team, pool, AttentionAlgorithm::splitKeyValue, 8, 1, 1500, 8, 8, format, false);
    attention(team, pool, AttentionAlgorithm::splitKeyValue, 1, 1, 16, 8, 8, format, true);
    attention(team, pool, AttentionAlgorithm::splitKeyValue, 1, 1, 100, 8, 8, format, true);
    attention(team, pool, AttentionAlgorithm::splitKeyValue, 1, 1, 440, 8, 8, format, true);
    attention(team, pool, AttentionAlgorithm::splitKeyValue, 1, 4, 1500, 8, 8, format, false);
    attention(team, pool, AttentionAlgorithm::splitKeyValue, 1, 5, 1500, 8, 8, format, false);
    attention(team, pool, AttentionAlgorithm::splitKeyValue, 4, 5, 1500, 8, 8, format, false);
    ranges(team, pool, 1, 1, true, format);
    ranges(team, pool, 1, 5, true, format);
    ranges(team, pool, 4, 5, true, format);
    ranges(team, pool, 8, 1, true, format);
    ranges(team, pool, 8, 1, false, format);
    for (int64_t heads : {6, 8, 12})
      attention(team, pool, AttentionAlgorithm::memoryEfficient, 1, 1500, 1500, heads, heads, format, false);
    attention(team, pool, AttentionAlgorithm::memoryEfficient, 1, 1500, 1500, 8, 1, format, false);
    attention(team, pool, AttentionAlgorithm::multiHead, 1, 1500, 1500, 8, 8, format, false);
  }
  logMels(team, 80);
  logMels(team, 128);
  tokens(team, 1);
  tokens(team, 8);
  small(team);
}
