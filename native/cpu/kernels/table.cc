// The table of one instruction set. sources.cmake defines ONEHEAD_VARIANT, ONEHEAD_NAME and ONEHEAD_ISA.
#include "family.h"
#include "vector.h"

namespace onehead::cpu {

extern const Kernels ONEHEAD_VARIANT;

#define ONEHEAD_ENTRY(Arguments, name) .name = {ONEHEAD_ISA::name, nullptr},
#define ONEHEAD_ENTRY_WITH_SCRATCH(Arguments, name) .name = {ONEHEAD_ISA::name, ONEHEAD_ISA::name##Scratch},
#define ONEHEAD_FUNCTION_ENTRY(name, ...) .name = ONEHEAD_ISA::name,
const Kernels ONEHEAD_VARIANT = {.name = ONEHEAD_NAME,
                                 .multipliesInt16 = ONEHEAD_ISA::multipliesInt16,
                                 .multipliesBfloat16 = ONEHEAD_ISA::pairsBfloat16,
                                 ONEHEAD_CPU_KERNELS(ONEHEAD_ENTRY, ONEHEAD_ENTRY_WITH_SCRATCH)
                                     ONEHEAD_CPU_FUNCTIONS(ONEHEAD_FUNCTION_ENTRY)};

}  // namespace onehead::cpu
