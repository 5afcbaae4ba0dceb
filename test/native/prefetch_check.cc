// Tests which launches of a decode step prefetch what.
#include <cstdint>
#include <cstdio>

#include "../../native/cuda/prefetch.h"

using namespace onehead;
using namespace onehead::cuda;

namespace {

constexpr int64_t mega = 1'000'000, cacheBytes = 50 * mega;
int failures = 0;

void expect(bool holds, const char* what) {
  std::printf("%s %s\n", holds ? "ok    " : "FAILED", what);
  failures += !holds;
}

/** A product with a weight at this address. */
Reads product(uintptr_t address, int64_t bytes) {
  return {.bytes = bytes, .constant = reinterpret_cast<const void*>(address), .prefetches = true};
}
uintptr_t beginOf(const Prefetch& range) { return reinterpret_cast<uintptr_t>(range.data); }

}  // namespace

int main() {
  constexpr uintptr_t up = 0x1000'0000, down = 0x2000'0000;
  {
    const Reads small = product(0x100, mega), attention{.bytes = 0, .prefetches = true};
    const auto plan = planPrefetches({small, attention, small, product(up, 13 * mega)}, cacheBytes);
    expect(beginOf(plan[2]) == up && plan[2].bytes > 0, "the launch before a large product prefetches its beginning");
    expect(plan[3].bytes == 0, "a large product itself prefetches nothing");
    int64_t bytes = 0;
    for (const Prefetch& range : plan) bytes += range.bytes;
    expect(bytes > 4 * mega && bytes < 5 * mega,
           "what is prefetched is what the time of one kernel does not suffice for");
  }
  {
    const Reads small = product(0x100, mega);
    const auto plan =
        planPrefetches({small, small, small, product(up, 16 * mega), product(down, 13 * mega)}, cacheBytes);
    expect(beginOf(plan[2]) == up && beginOf(plan[1]) == up + uintptr_t(plan[2].bytes),
           "two launches prefetch neighbouring ranges");
    expect(beginOf(plan[0]) == down, "an earlier launch prefetches for the product after next");
  }
  {
    const Reads small = product(0x100, mega), logits = product(up, 133 * mega);
    const auto plan = planPrefetches(std::vector<Reads>{small, small, small, small, small, small, logits}, cacheBytes);
    int64_t bytes = 0;
    bool whole = true;
    for (const Prefetch& range : plan) {
      bytes += range.bytes;
      whole &= range.bytes % 16 == 0;
      whole &= range.bytes == 0 || (beginOf(range) >= up && beginOf(range) + uintptr_t(range.bytes) <= up + 133 * mega);
    }
    expect(bytes <= cacheBytes / 3, "no more is prefetched than a third of the cache");
    expect(whole, "ranges are multiples of 16 bytes within the weight");
  }
  {
    const Reads unknown{.bytes = 0}, changing{.bytes = 13 * mega, .prefetches = true};
    const auto plan = planPrefetches({unknown, product(up, 13 * mega), product(0x100, mega), changing}, cacheBytes);
    expect(plan[0].bytes == 0, "a kernel that cannot prefetch does not");
    expect(plan[2].bytes == 0, "what the program writes is not prefetched");
  }
  expect(planPrefetches({product(0x100, mega), product(up, 13 * mega)}, 0)[0].bytes == 0,
         "without a cache nothing is prefetched");
  return failures > 0;
}
