#!/bin/sh
# Removes what onehead never calls from oneDNN's source, in whose folder it runs: onehead multiplies matrices of float32
# and of bfloat16, and reorders their elements. scripts/portable/setup.sh runs it.
set -eu

# The tables of activations rely on std::multimap's find to return the first of several equal keys. That of libc++ may
# return another, and GELU on AVX-512 was wrong.
sed -i 's/entry_map_\.find(/entry_map_.lower_bound(/' src/cpu/*/injectors/jit_uni_eltwise_injector.[ch]pp

# Matrix products: keep those with generated kernels, from AVX2 on, and the C++ ones for older CPUs. Remove those of
# other types, and the reference for bfloat16: it takes minutes where onehead widens to float32 instead.
list=src/cpu/matmul/cpu_matmul_list.cpp
sed -i -E '/brgemm_matmul_t<(avx512_core_amx_fp16|avx512_core_fp16|avx512_core_vnni|avx2_vnni)>/d
/CPU_INSTANCE\((gemm_(f32|bf16|x8s8s32x)_matmul|ref_matmul_int8)/d
/CPU_INSTANCE_SPARSE[_X64]*\((ref|jit)/d
s/^( *)CPU_INSTANCE_AVX2\(brgemm_matmul_t<avx2>\)/&\n\1CPU_INSTANCE(gemm_f32_matmul_t)/' $list
sed -i 's/one_of(src_type, f32, bf16, f16,/one_of(src_type, f32,/' src/cpu/matmul/ref_matmul.hpp

# Reorders: keep those between these two types, without layouts of convolutions and recurrent networks.
sed -i -E '/impl_list_map\(\)\},$/{/\{\{f32, (f32|bf16), 0\}|\{\{bf16, data_type/!d}' src/cpu/reorder/cpu_reorder.cpp
sed -i -E '/rnn_weights_reorder_t|DNNL_NON_X64_ONLY\(REG_SR|REG_SR\(bf16, any, (s8|u8|f8)/d' \
  src/cpu/reorder/cpu_reorder_regular_*.cpp

# On arm64 it warns on stderr if sysfs has no MIDR_EL1, as under QEMU and in some containers. It has a fallback.
sed -i '/fprintf.*MIDR_EL1/d' src/cpu/aarch64/xbyak_aarch64/src/util_impl_linux.h

# Source files of each CPU: keep those that products and reorders consist of. If one is missing, build.cjs finds
# undefined symbols when it checks the addon.
kept='cpu_[a-z_]+
bfloat16 float16 platform primitive_attr_postops scale_utils zero_point_utils binary_injector_utils
ref_matmul gemm gemm_pack gemm_utils_f32 ref_gemm_[a-z0-9]+ simple_gemm_s8s8s32 gemm_f32_matmul
cpu_reorder_regular_(bf16|f32_bf16|f32_f32) jit_uni_reorder[a-z_]* jit_generator jit_transpose_utils amx_tile_configure
brgemm_matmul[a-z_]* jit_brgemm_(inner_product_utils|post_ops|primitive_conf|transpose_utils) jit_uni_convert_xf16
gemm_inner_product_utils jit_gemm_inner_product_utils
jit_avx512_(core_fp16cvt|core_fp8cvt|core_scale_precompute|sparse_decompress_kernel)'
names=$(echo "$kept" | tr '\n ' '||')
find src/cpu -name '*.cpp' | grep -vE "/(jit_utils|injectors|brgemm|utils|xbyak[a-z0-9_]*)/|/($names)\.cpp$" | xargs rm
