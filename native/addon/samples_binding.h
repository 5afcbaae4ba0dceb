// Functions on samples, which run on the calling thread.
#pragma once

#include "support.h"

namespace onehead::addon {

/** Defines convertPcm, mixChannels and withinLevel. */
void defineSamples(Napi::Env env, Napi::Object exports);

}  // namespace onehead::addon
