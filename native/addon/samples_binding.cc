#include "samples_binding.h"

#include <algorithm>

namespace onehead::addon {

namespace {

using Coding = cpu::PcmConversion::Coding;

struct NamedCoding {
  const char* name;
  Coding coding;
  int64_t bytes;
};

constexpr NamedCoding codings[] = {{"bytes", Coding::bytes, 1},     {"int16", Coding::int16, 2},
                                   {"int24", Coding::int24, 3},     {"int32", Coding::int32, 4},
                                   {"float32", Coding::float32, 4}, {"float64", Coding::float64, 8}};

const NamedCoding& codingOf(const Napi::Value& value) {
  const std::string name = textOf(value, "coding");
  for (const NamedCoding& one : codings)
    if (name == one.name) return one;
  refuse("coding", "bytes, int16, int24, int32, float32 or float64", value);
}

/** Elements `begin` to `begin + count` of an array. */
float* partOf(const Napi::Value& value, const char* name, int64_t begin, int64_t count) {
  Napi::Float32Array array = float32Of(value, name);
  const int64_t length = int64_t(array.ElementLength());
  if (count > length || begin > length - count)
    throw Error("INVALID_SHAPE", "Expected " + std::string(name) + " to have elements " + std::to_string(begin) +
                                     " to " + std::to_string(begin + count) + " but received " +
                                     std::to_string(length) + ".");
  return array.Data() + begin;
}

/** The channels' arrays. */
std::vector<Napi::Value> channelsOf(const Napi::Value& value) {
  if (!value.IsArray() || value.As<Napi::Array>().Length() == 0)
    refuse("channels", "an array of one Float32Array for each channel", value);
  const Napi::Array array = value.As<Napi::Array>();
  std::vector<Napi::Value> channels;
  for (uint32_t i = 0; i < array.Length(); ++i) channels.push_back(array.Get(i));
  return channels;
}

/** Elements `begin` to `begin + count` of each channel. */
std::vector<float*> partsOf(const std::vector<Napi::Value>& channels, int64_t begin, int64_t count) {
  std::vector<float*> parts;
  for (const Napi::Value& channel : channels) parts.push_back(partOf(channel, "each channel", begin, count));
  return parts;
}

void convertPcm(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
      refuse("bytes", "a Uint8Array", info[0]);
    const Napi::Uint8Array bytes = info[0].As<Napi::Uint8Array>();
    const NamedCoding& coding = codingOf(info[1]);
    if (!info[2].IsBoolean()) refuse("bigEndian", "a boolean", info[2]);
    const float* table = coding.coding == Coding::bytes ? partOf(info[3], "table", 0, 256) : nullptr;
    const int64_t begin = sizeOf(info[5], "begin");
    const std::vector<Napi::Value> channels = channelsOf(info[4]);
    const int64_t count = int64_t(channels.size());
    if (count > cpu::PcmConversion::maxChannels) refuse("channels", "at most 64 arrays", info[4]);
    const int64_t frame = count * coding.bytes, frames = int64_t(bytes.ByteLength()) / frame;
    if (frames * frame != int64_t(bytes.ByteLength()))
      throw Error("INVALID_SHAPE", "Expected bytes of whole frames of " + std::to_string(frame) + " but received " +
                                       std::to_string(bytes.ByteLength()) + ".");
    const std::vector<float*> samples = partsOf(channels, begin, frames);
    kernelsOf(info[6]).convertPcm(
        {coding.coding, info[2].As<Napi::Boolean>(), table, bytes.Data(), count, frames, samples.data()});
  });
}

void mixChannels(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    const Napi::Float32Array mix = float32Of(info[2], "mix");
    const int64_t count = int64_t(mix.ElementLength());
    const std::vector<float*> channels = partsOf(channelsOf(info[0]), 0, count);
    const auto numbersOf = [](const Napi::Value& value, const char* name, size_t length) {
      if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array ||
          value.As<Napi::TypedArray>().ElementLength() != length)
        refuse(name, "a Float64Array of " + std::to_string(length) + " numbers", value);
      return value.As<Napi::Float64Array>().Data();
    };
    const double* shares = info[1].IsNull() ? nullptr : numbersOf(info[1], "shares", channels.size());
    double* powers = numbersOf(info[3], "powers", channels.size() + 1);
    std::vector<double> squares(size_t(channels.size() + 1) * size_t(cpu::ChannelMix::lanes));
    kernelsOf(info[4]).mixChannels({int64_t(channels.size()), count, channels.data(), shares,
                                    const_cast<Napi::Float32Array&>(mix).Data(), squares.data(), powers});
  });
}

Napi::Value withinLevel(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int64_t begin = sizeOf(info[1], "begin"), end = std::max(begin, sizeOf(info[2], "end"));
    const float* samples = partOf(info[0], "samples", begin, end - begin);
    const float level = float(numberOf(info[3], "level"));
    return Napi::Boolean::New(info.Env(), kernelsOf(info[4]).withinLevel(samples, end - begin, level));
  });
}

}  // namespace

void defineSamples(Napi::Env env, Napi::Object exports) {
  exports.Set("convertPcm", Napi::Function::New(env, convertPcm));
  exports.Set("mixChannels", Napi::Function::New(env, mixChannels));
  exports.Set("withinLevel", Napi::Function::New(env, withinLevel));
}

}  // namespace onehead::addon
