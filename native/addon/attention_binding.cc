#include "attention_binding.h"

#include "../cpu/capabilities.h"
#include "../cuda/capabilities.h"
#include "../operations/attention/algorithms.h"
#include "support.h"

namespace onehead::addon {

namespace {

const AttentionDeclaration& declarationNamed(const std::string& name) {
  std::string names;
  for (const AttentionDeclaration& one : attentionDeclarations()) {
    if (name == one.name) return one;
    names += (names.empty() ? "" : ", ") + quoted(one);
  }
  throw Error::argumentError("INVALID_ARGUMENT", "attention", "algorithm", "one of " + names, name.substr(0, 100));
}

AttentionCase caseOf(const Napi::Object& given) {
  auto count = [&](const char* name) {
    const Napi::Value value = given.Get(name);
    const int64_t size = sizeOf(value, name);
    if (size == 0) refuse(name, "a whole number of at least 1", value);
    return size;
  };
  auto flag = [&](const char* name) { return given.Get(name).ToBoolean().Value(); };
  return {.type = dtypeOf(given.Get("dtype"), "dtype"),
          .heads = count("heads"),
          .keyValueHeads = count("keyValueHeads"),
          .headSize = count("headSize"),
          .queries = count("queries"),
          .keys = given.Get("keys").IsUndefined() ? std::numeric_limits<int64_t>::max() : count("keys"),
          .causal = flag("causal"),
          .append = flag("append"),
          .scores = flag("scores"),
          .pooled = flag("pooled"),
          .source = flag("indexed"),
          .bytes = flag("bytes")};
}

/** (device: 'cpu' | 'cuda', algorithm, case): string[]: why the algorithm does not support it. */
Napi::Value attentionReasons(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Capabilities device = textOf(info[0], "device") == "cpu" ? cpu::capabilities() : cuda::capabilities();
    const AttentionDeclaration& algorithm = declarationNamed(textOf(info[1], "algorithm"));
    const AttentionCase given = caseOf(objectOf(info[2], "case"));
    Reasons reasons;
    try {
      requireConsistent(given);
      reasons = notSupportedReasons(algorithm, given, device);
    } catch (const Error& error) {
      reasons.push_back("Expected " + error.argument + " to be " + error.expected + " but received " + error.received +
                        ".");
    }
    Napi::Array sentences = Napi::Array::New(info.Env(), reasons.size());
    for (size_t i = 0; i < reasons.size(); ++i) sentences.Set(uint32_t(i), reasons[i]);
    return sentences;
  });
}

/** (queries): the name of the algorithm that 'auto' tries first. */
Napi::Value preferredAttention(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const AttentionAlgorithm algorithm = preferredAlgorithms(sizeOf(info[0], "queries")).front();
    return Napi::String::New(info.Env(), declarationOf(algorithm).name);
  });
}

}  // namespace

void defineAttention(Napi::Env env, Napi::Object exports) {
  exports.Set("attentionReasons", Napi::Function::New(env, attentionReasons));
  exports.Set("preferredAttention", Napi::Function::New(env, preferredAttention));
}

}  // namespace onehead::addon
