# The CPU kernels: the same sources, compiled once for each instruction set.
#
# onehead_cpu_kernels(<target>) adds them to a target.
include(CheckCXXCompilerFlag)

set(ONEHEAD_CPU_DIRECTORY ${CMAKE_CURRENT_LIST_DIR})
get_filename_component(ONEHEAD_NATIVE_DIRECTORY ${ONEHEAD_CPU_DIRECTORY} DIRECTORY)
file(GLOB ONEHEAD_CPU_KERNELS CONFIGURE_DEPENDS ${ONEHEAD_CPU_DIRECTORY}/kernels/*.cc
     ${ONEHEAD_NATIVE_DIRECTORY}/operations/*/cpu/*.cc)
list(FILTER ONEHEAD_CPU_KERNELS EXCLUDE REGEX dispatch)

# Multiply-adds may be fused, but NaN and infinity keep their meaning: no -ffast-math.
set(ONEHEAD_CPU_FLAGS -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math -fno-exceptions -fno-rtti -Wall -Wextra
  -Wno-maybe-uninitialized -Wno-uninitialized)  # GCC 12 warns about its own avx512fintrin.h (bug 105593)
# lib/audio gives the same bits without fused multiply-adds.
set_source_files_properties(${ONEHEAD_CPU_DIRECTORY}/kernels/samples.cc PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
set(ONEHEAD_CPU_OBJECTS)
set(ONEHEAD_CPU_DEFINITIONS)

# name: as in ONEHEAD_CPU_KERNELS; isa: the namespace; variant: the table's symbol; then compiler flags
function(onehead_cpu_instruction_set name isa variant)
  string(REPLACE ";" " " joined "${ARGN}")
  if(ARGN)
    check_cxx_compiler_flag("${joined}" ONEHEAD_COMPILER_TAKES_${isa})
    if(NOT ONEHEAD_COMPILER_TAKES_${isa})
      return()
    endif()
  endif()
  set(objects onehead_cpu_${isa})
  add_library(${objects} OBJECT ${ONEHEAD_CPU_KERNELS})
  target_compile_features(${objects} PRIVATE cxx_std_20)
  target_include_directories(${objects} PRIVATE ${ONEHEAD_NATIVE_DIRECTORY})
  target_compile_options(${objects} PRIVATE ${ONEHEAD_CPU_FLAGS} ${ARGN})
  target_compile_definitions(${objects} PRIVATE ONEHEAD_ISA=${isa} ONEHEAD_VARIANT=${variant} ONEHEAD_NAME="${name}")
  set_target_properties(${objects} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)
  string(TOUPPER ${isa} upper)
  set(ONEHEAD_CPU_OBJECTS ${ONEHEAD_CPU_OBJECTS} ${objects} PARENT_SCOPE)
  set(ONEHEAD_CPU_DEFINITIONS ${ONEHEAD_CPU_DEFINITIONS} ONEHEAD_HAVE_${upper} PARENT_SCOPE)
endfunction()

onehead_cpu_instruction_set(portable portable portableVariant)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(ONEHEAD_AVX2 -mavx2 -mfma -mf16c)
  set(ONEHEAD_AVX512 ${ONEHEAD_AVX2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
  set(ONEHEAD_AVX512_BF16 ${ONEHEAD_AVX512} -mavx512vnni -mavx512bf16)
  if(ONEHEAD_EMULATION) # its CPU device is for tests of kernels for AMX
    onehead_cpu_instruction_set(amx-emulated amx_emulated amxEmulatedVariant ${ONEHEAD_AVX512_BF16}
                                -DONEHEAD_EMULATE_TILES)
  else()
    onehead_cpu_instruction_set(avx2 avx2 avx2Variant ${ONEHEAD_AVX2})
    onehead_cpu_instruction_set(avx2-vnni avx2_vnni avx2VnniVariant ${ONEHEAD_AVX2} -mavxvnni)
    onehead_cpu_instruction_set(avx512 avx512 avx512Variant ${ONEHEAD_AVX512})
    onehead_cpu_instruction_set(avx512-vnni avx512_vnni avx512VnniVariant ${ONEHEAD_AVX512} -mavx512vnni)
    onehead_cpu_instruction_set(avx512-bf16 avx512_bf16 avx512Bf16Variant ${ONEHEAD_AVX512_BF16})
    onehead_cpu_instruction_set(avx512-amx avx512_amx avx512AmxVariant ${ONEHEAD_AVX512_BF16} -mamx-tile -mamx-int8
                                -mamx-bf16)
  endif()
endif()

add_library(onehead_cpu_dispatch OBJECT ${ONEHEAD_CPU_DIRECTORY}/kernels/dispatch.cc)
target_compile_features(onehead_cpu_dispatch PRIVATE cxx_std_20)
target_include_directories(onehead_cpu_dispatch PRIVATE ${ONEHEAD_NATIVE_DIRECTORY})
target_compile_definitions(onehead_cpu_dispatch PRIVATE ${ONEHEAD_CPU_DEFINITIONS})
set_target_properties(onehead_cpu_dispatch PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)

function(onehead_cpu_kernels target)
  foreach(objects IN LISTS ONEHEAD_CPU_OBJECTS ITEMS onehead_cpu_dispatch)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${objects}>)
  endforeach()
endfunction()

find_package(Threads REQUIRED)
