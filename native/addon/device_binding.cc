#include "device_binding.h"

#include "../cpu/cpu_backend.h"
#include "../cuda/cuda_backend.h"
#include "program_binding.h"
#include "tensor_binding.h"
#include "transfer.h"

namespace onehead::addon {

struct SharedDevice::Pending {
  Napi::Promise::Deferred deferred;
  Result result;
  std::exception_ptr failure;
  std::shared_ptr<SharedDevice> device;
};

SharedDevice::SharedDevice(Napi::Env env, std::shared_ptr<Backend> backend)
    : env_(env),
      device_(std::move(backend)),
      settler_(Settler::New(env, "onehead device", 0, 1, static_cast<std::nullptr_t*>(nullptr))) {
  settler_.Unref(env);  // an idle device does not keep the process alive
  napi_add_env_cleanup_hook(env_, closeWithEnvironment, this);
}

SharedDevice::~SharedDevice() {
  device_.close();
  // If the environment was cleaned up first, the thread-safe function is gone already.
  if (closed_) return;
  napi_remove_env_cleanup_hook(env_, closeWithEnvironment, this);
  settler_.Release();
}

/** The environment is being cleaned up (process exit, worker terminated): stop the thread while it can still report. */
void SharedDevice::closeWithEnvironment(void* self) {
  auto* device = static_cast<SharedDevice*>(self);
  device->closed_ = true;
  device->device_.close();
}

void SharedDevice::close() { device_.close(); }

void SharedDevice::requireOpen() const {
  if (device_.closed()) throw Error("DISPOSED", "This device has been closed; open a new one.");
}

void SharedDevice::requireNotClosed() const {
  if (device_.closed()) throw Error("DISPOSED", closedBeforeEnd);
}

void SharedDevice::settle(Napi::Env env, Napi::Function, std::nullptr_t*, Pending* pending) {
  std::unique_ptr<Pending> owned(pending);
  if (env == nullptr) return;  // the environment is gone, and so is everyone who waited
  try {
    if (--owned->device->pending_ == 0) owned->device->settler_.Unref(env);
    Napi::HandleScope scope(env);
    try {
      if (owned->failure)
        owned->deferred.Reject(toError(env, owned->failure));
      else
        owned->deferred.Resolve(owned->result(env));
    } catch (const Napi::Error& error) {
      owned->deferred.Reject(error.Value());
    } catch (...) {
      owned->deferred.Reject(toError(env, std::current_exception()));
    }
  } catch (...) {
    // A worker that is being terminated runs no JavaScript, so nobody can be notified.
  }
}

Napi::Value SharedDevice::submit(Napi::Env env, Work work, Result result,
                                 std::shared_ptr<std::atomic<bool>> cancelled) {
  requireOpen();  // an unsettled promise would stay in memory
  auto pending = std::make_unique<Pending>(
      Pending{Napi::Promise::Deferred::New(env), std::move(result), nullptr, shared_from_this()});
  Napi::Value promise = pending->deferred.Promise();
  Job job;
  job.work = std::move(work);
  if (cancelled) job.cancelled = std::move(cancelled);
  job.done = [raw = pending.get(), this](std::exception_ptr failure) {
    raw->failure = std::move(failure);
    // If the environment is closing, the call is refused. Pending jobs are then leaked until the process ends, since
    // their JavaScript handles may only be released on the event loop, which has stopped.
    settler_.NonBlockingCall(raw);
  };
  device_.submit(std::move(job));
  pending.release();
  if (pending_++ == 0) settler_.Ref(env);
  return promise;
}

void DeviceBinding::define(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor =
      DefineClass(env, "Device",
                  {InstanceMethod<&DeviceBinding::createTensor>("createTensor"),
                   InstanceMethod<&DeviceBinding::load>("load"), InstanceMethod<&DeviceBinding::quantize>("quantize"),
                   InstanceMethod<&DeviceBinding::createRecorder>("createRecorder"),
                   InstanceMethod<&DeviceBinding::copy>("copy"), InstanceMethod<&DeviceBinding::transfer>("transfer"),
                   InstanceMethod<&DeviceBinding::memory>("memory"), InstanceMethod<&DeviceBinding::close>("close")});
  instanceOf(env).deviceClass = Napi::Persistent(constructor);
  exports.Set("Device", constructor);
}

namespace {

std::shared_ptr<Backend> makeBackend(const std::string& kind, const Napi::Object& options) {
  if (kind == "cpu") {
    cpu::CpuOptions cpuOptions;
    if (Napi::Value threads = options.Get("threads"); !threads.IsUndefined())
      cpuOptions.threads = int(std::min<int64_t>(sizeOf(threads, "threads"), 1 << 20));
    if (Napi::Value kernels = options.Get("kernels"); !kernels.IsUndefined())
      cpuOptions.kernels = textOf(kernels, "kernels");
    return cpu::makeCpuBackend(cpuOptions);
  }
  const std::string cudaName = cuda::deviceName;
  const std::string number = kind.starts_with(cudaName + ":") ? kind.substr(cudaName.size() + 1) : "0";
  const bool counts = !number.empty() && number.size() < 5 && number.find_first_not_of("0123456789") == number.npos;
  if (!counts || (kind != cudaName && kind != cudaName + ":" + number))
    throw Error("DEVICE_UNAVAILABLE", "There is no device '" + kind.substr(0, 100) + "'; use 'cpu', '" + cudaName +
                                          "' or '" + cudaName + ":<number>'.");
  cuda::CudaOptions cudaOptions;
  cudaOptions.index = std::stoi(number);
  if (Napi::Value cublasLt = options.Get("cublasLt"); !cublasLt.IsUndefined())
    cudaOptions.cublasLt = cublasLt.ToBoolean().Value();
  return cuda::makeCudaBackend(cudaOptions);
}

}  // namespace

DeviceBinding::DeviceBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guarded(info.Env(), [&] {
    std::string kind = textOf(info[0], "device");
    Napi::Object options = objectOf(info[1], "options");
    shared_ = std::make_shared<SharedDevice>(info.Env(), makeBackend(kind, options));
  });
}

DeviceBinding::~DeviceBinding() = default;

Napi::Value DeviceBinding::createTensor(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    shared_->requireOpen();
    Tensor tensor = Tensor::of(dtypeOf(info[0], "dtype"), shapeOf(info[1], "shape"));
    tensor.storage = shared_->backend().allocate(tensor.bytes());
    return TensorBinding::make(info.Env(), std::move(tensor), shared_);
  });
}

namespace {

/** Whether this range is within a file of this size. */
bool lies(size_t offset, size_t bytes, size_t size) { return offset <= size && bytes <= size - offset; }

/** {offset, dtype, each, factor}. */
Source::Part::Scales scalesOf(const Napi::Value& value) {
  Napi::Object object = objectOf(value, "part.scales");
  Source::Part::Scales scales;
  scales.offset = size_t(sizeOf(object.Get("offset"), "part.scales.offset"));
  scales.dtype = dtypeOf(object.Get("dtype"), "part.scales.dtype");
  scales.each = sizeOf(object.Get("each"), "part.scales.each");
  scales.factor = object.Get("factor").ToBoolean().Value();
  if (!isFloating(scales.dtype) || scales.each == 0)
    throw Error("INVALID_ARGUMENT", "load: expected scales to be of a floating type, each for one or more elements.");
  return scales;
}

/** {file, offset, dtype or encoding, elements, scales?, name?}, or {elements} for zeros. Ranges are checked here, since
 * JavaScript is not trusted with memory. */
Source::Part partOf(const Napi::Value& value) {
  Napi::Object object = objectOf(value, "part");
  Source::Part part;
  part.elements = sizeOf(object.Get("elements"), "part.elements");
  Napi::Value file = object.Get("file");
  if (file.IsUndefined()) return part;
  const FileBinding* opened = instanceAs<FileBinding>(file);
  if (!opened) refuse("part.file", "a WeightsFile", file);
  part.file = opened->use();
  part.offset = size_t(sizeOf(object.Get("offset"), "part.offset"));
  if (Napi::Value name = object.Get("name"); !name.IsUndefined()) part.name = textOf(name, "part.name");
  if (Napi::Value encoding = object.Get("encoding"); !encoding.IsUndefined()) {
    const std::string called = textOf(encoding, "part.encoding");
    const auto known = encodingNamed(called);
    if (!known)
      throw Error("INVALID_DTYPE",
                  "load: expected a known encoding of a part but received '" + called.substr(0, 100) + "'.");
    part.encoding = *known;
    if (Napi::Value scales = object.Get("scales"); !scales.IsUndefined()) part.scales = scalesOf(scales);
    if (const int64_t block = blockOf(part.encoding).elements; part.elements % block)
      throw Error("INVALID_SHAPE", "load: expected whole blocks of " + std::to_string(block) + " elements in " +
                                       called + " but received " + std::to_string(part.elements) + " elements.");
  } else {
    part.dtype = dtypeOf(object.Get("dtype"), "part.dtype");
  }
  if (!isFloating(part.dtype))
    throw Error("INVALID_DTYPE",
                "load: expected a part of a floating type but received " + std::string(nameOf(part.dtype)) + ".");
  const size_t size = part.file->size();
  if (!lies(part.offset, part.bytes(), size) || !lies(part.scales.offset, part.scaleBytes(), size))
    throw Error("MODEL_INVALID", part.file->path +
                                     " ends before the weights in its header: it is incomplete; download or export it "
                                     "again.");
  return part;
}

}  // namespace

/** The source of a constant, made of parts that must fit the tensor's shape. */
static Source sourceOf(const Napi::Value& given, const Tensor& tensor, const char* operation) {
  const std::string name = operation;
  if (!given.IsArray()) throw Error::argumentError("INVALID_ARGUMENT", name, "parts", "an array", described(given));
  auto parts = given.As<Napi::Array>();
  Source source;
  int64_t elements = 0;
  for (uint32_t i = 0; i < parts.Length(); ++i) {
    source.parts.push_back(partOf(parts.Get(i)));
    if (source.parts.back().elements > maxElements) break;  // cannot fit, and must not overflow
    elements += source.parts.back().elements;
  }
  if (elements != tensor.elements())
    throw Error("INVALID_SHAPE", name + ": the parts hold " + std::to_string(elements) + " elements but the shape " +
                                     toString(tensor.shape) + " needs " + std::to_string(tensor.elements()) + ".");
  return source;
}

Napi::Value DeviceBinding::load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Tensor tensor = Tensor::of(dtypeOf(info[0], "dtype"), shapeOf(info[1], "shape"));
    Source source = sourceOf(info[2], tensor, "load");
    auto loaded = std::make_shared<Tensor>(std::move(tensor));
    return shared_->submit(
        info.Env(),
        [shared = shared_.get(), loaded, source = std::move(source)](const std::atomic<bool>&) mutable {
          loaded->storage = shared->backend().load(std::move(source), loaded->dtype, loaded->shape);
        },
        [loaded, shared = shared_](Napi::Env env) -> Napi::Value { return TensorBinding::make(env, *loaded, shared); });
  });
}

Napi::Value DeviceBinding::quantize(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    struct Weight {
      Tensor data, scales;
      double error;
    };
    auto weight = std::make_shared<Weight>();
    weight->data = Tensor::of(DType::int8, shapeOf(info[0], "shape"));
    if (weight->data.shape.size() != 2 || weight->data.elements() == 0)
      throw Error::argumentError("INVALID_SHAPE", "quantize", "shape", "[outputs, inputs]",
                                 toString(weight->data.shape));
    weight->scales = Tensor::of(DType::float32, {weight->data.shape[0]});
    Source source = sourceOf(info[1], weight->data, "quantize");
    for (const Source::Part& part : source.parts)
      if (part.elements % weight->data.columns())
        throw Error("INVALID_SHAPE", "quantize: expected parts of whole rows of " +
                                         std::to_string(weight->data.columns()) + " elements but received one of " +
                                         std::to_string(part.elements) + " elements.");
    return shared_->submit(
        info.Env(),
        [shared = shared_.get(), weight, source = std::move(source)](const std::atomic<bool>&) mutable {
          Backend::Quantized made = shared->backend().quantize(std::move(source), weight->data.shape);
          weight->data.storage = made.data;
          weight->scales.storage = made.scales;
          weight->error = made.error;
        },
        [weight, shared = shared_](Napi::Env env) -> Napi::Value {
          Napi::Object object = Napi::Object::New(env);
          object.Set("data", TensorBinding::make(env, weight->data, shared));
          object.Set("scales", TensorBinding::make(env, weight->scales, shared));
          object.Set("error", weight->error);
          return object;
        });
  });
}

Napi::Value DeviceBinding::createRecorder(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    shared_->requireOpen();
    return RecorderBinding::make(info.Env(), shared_);
  });
}

Napi::Value DeviceBinding::copy(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Tensor from = TensorBinding::of(info[0], "copy", "from").useOn(shared_, "copy", "from");
    Tensor to = TensorBinding::of(info[2], "copy", "to").useOn(shared_, "copy", "to");
    int64_t fromElement = sizeOf(info[1], "fromElement"), toElement = sizeOf(info[3], "toElement");
    int64_t elements = sizeOf(info[4], "elements");
    if (from.dtype != to.dtype)
      throw Error::argumentError("INVALID_DTYPE", "copy", "to", std::string(nameOf(from.dtype)),
                                 std::string(nameOf(to.dtype)));
    requireMemory(from, "copy");
    requireMemory(to, "copy");
    auto inside = [&](const Tensor& tensor, int64_t element) {
      return element <= tensor.elements() && elements <= tensor.elements() - element;
    };
    if (!inside(from, fromElement) || !inside(to, toElement))
      throw Error("INVALID_SHAPE", "copy: " + std::to_string(elements) + " elements from " +
                                       std::to_string(fromElement) + " of " + toString(from.shape) + " do not fit at " +
                                       std::to_string(toElement) + " of " + toString(to.shape) + ".");
    size_t element = bytesOf(from.dtype);
    return shared_->submit(
        info.Env(),
        [=, shared = shared_.get()](const std::atomic<bool>&) {
          shared->backend().copy(*from.storage, size_t(from.offset + fromElement) * element, *to.storage,
                                 size_t(to.offset + toElement) * element, size_t(elements) * element);
        },
        [](Napi::Env env) { return env.Undefined(); });
  });
}

Napi::Value DeviceBinding::transfer(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    std::shared_ptr<Transfer> both = Transfer::of(info[0], info[1], shared_, "transfer");
    return shared_->submit(
        info.Env(),
        [shared = shared_.get(), both](const std::atomic<bool>&) {
          shared->backend().transfer(both->writes, both->reads);
          both->writes.clear();
          for (Piece& piece : both->reads) piece.storage.reset();  // release it with the job, not with its result
        },
        [both](Napi::Env env) -> Napi::Value { return both->arrays(env); });
  });
}

Napi::Value DeviceBinding::memory(const Napi::CallbackInfo& info) {
  MemoryFigures figures = shared_->backend().memory();
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("inUse", double(figures.inUse));
  object.Set("peak", double(figures.peak));
  object.Set("allocations", double(figures.allocations));
  if (figures.available) object.Set("available", double(*figures.available));
  return object;
}

void DeviceBinding::close(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { shared_->close(); });
}

}  // namespace onehead::addon
