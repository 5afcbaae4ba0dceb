#include "operations.h"

#include <functional>

#include "core/arguments.h"

namespace onehead {

namespace {

/** Collects pointers to the tensors that a description visits; absent ones are skipped. */
class Collect {
 public:
  explicit Collect(std::vector<const Tensor*>& found) : found_(found) {}
  void operator()(const auto&... tensors) const { (add(tensors), ...); }

 private:
  void add(const Tensor& tensor) const { found_.push_back(&tensor); }
  void add(const std::optional<Tensor>& tensor) const {
    if (tensor) found_.push_back(&*tensor);
  }
  std::vector<const Tensor*>& found_;
};

}  // namespace

Operation describe(const Request& request, Recorder& recorder, Tensor& output) {
  using Check = std::function<OperationDescription(const Arguments&)>;
#define ONEHEAD_CHECK(Type, name) {#name, [](const Arguments& arguments) { return name(arguments); }},
  static const std::map<std::string, Check> checks{ONEHEAD_OPERATIONS(ONEHEAD_CHECK)};
#undef ONEHEAD_CHECK
  auto check = checks.find(request.operation);
  if (check == checks.end()) {
    std::string names;
    for (const auto& [name, unused] : checks) names += (names.empty() ? "" : ", ") + name;
    throw Error("INVALID_ARGUMENT",
                "record: there is no operation '" + request.operation.substr(0, 100) + "'; there are " + names + ".");
  }
  Arguments arguments(request, recorder);
  OperationDescription description = check->second(arguments);
  arguments.refuseUnread();
  output = *writtenBy(description).front();
  return {request.operation, request.label, std::move(description)};
}

Reasons notSupportedReasons(const Operation& operation, const Capabilities& device) {
  return std::visit(
      [&](const auto& description) {
        Reasons reasons;
        if constexpr (requires { description.notSupported(device); }) reasons = description.notSupported(device);
        if constexpr (!requires { description.takesQuantizedWeights; })
          for (const Tensor* tensor : tensorsOf(operation))
            if (tensor->storage && tensor->storage->isQuantizedWeight())
              reasons.push_back("An int8 weight can only be used by linear and embed.");
        return reasons;
      },
      operation.description);
}

std::vector<const Tensor*> tensorsOf(const Operation& operation) {
  std::vector<const Tensor*> found;
  std::visit([&](const auto& description) { description.tensors(Collect(found)); }, operation.description);
  return found;
}

std::vector<const Tensor*> writtenBy(const OperationDescription& description) {
  std::vector<const Tensor*> found;
  std::visit([&](const auto& one) { one.written(Collect(found)); }, description);
  return found;
}

}  // namespace onehead
