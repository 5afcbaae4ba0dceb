// Declares the kernels of one instruction set, from the list in kernels.h. Each is defined in the file of its name.
#pragma once

#include "../kernels.h"

namespace onehead::cpu::ONEHEAD_ISA {

#define ONEHEAD_DECLARE(Type, name) void name(const Type##Arguments&, const Team&);
#define ONEHEAD_DECLARE_WITH_SCRATCH(Type, name)  \
  void name(const Type##Arguments&, const Team&); \
  size_t name##Scratch(const Type##Arguments&, int threads);
ONEHEAD_CPU_KERNELS(ONEHEAD_DECLARE, ONEHEAD_DECLARE_WITH_SCRATCH)
#undef ONEHEAD_DECLARE
#undef ONEHEAD_DECLARE_WITH_SCRATCH

#define ONEHEAD_DECLARE(name, ...) std::type_identity_t<__VA_ARGS__> name;
ONEHEAD_CPU_FUNCTIONS(ONEHEAD_DECLARE)
#undef ONEHEAD_DECLARE

}  // namespace onehead::cpu::ONEHEAD_ISA
