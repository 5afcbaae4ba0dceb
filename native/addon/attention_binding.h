// What attention algorithms support, for lib/attention.
#pragma once

#include <napi.h>

namespace onehead::addon {

/** Adds attentionReasons and preferredAttention to the exports. */
void defineAttention(Napi::Env env, Napi::Object exports);

}  // namespace onehead::addon
