// The C++ half of `autograd.rs`: an autograd node that owns a boxed Rust closure.
// Nothing throws across `extern "C"`: a function that can fail returns an error text made with strdup, or null.
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/version.h>

#include <cstring>

static_assert(TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR == 11,
              "tch-spiking is written for libtorch 2.11: run scripts/setup.sh");

using torch::autograd::Node;
using torch::autograd::variable_list;

// Rust: gradients of the outputs in (null where there is none), gradients of the inputs out (null for none).
using Backward = char* (*)(void* closure, at::Tensor* const* output_gradients, size_t outputs,
                           at::Tensor** input_gradients, size_t inputs);
using Drop = void (*)(void* closure);

namespace {

struct RustNode final : public Node {
  void* closure;
  Backward backward;
  Drop drop;
  size_t inputs;
  std::string label;

  ~RustNode() override { drop(closure); }

  std::string name() const override { return label; }

  variable_list apply(variable_list&& gradients) override {
    std::vector<at::Tensor*> given;
    for (auto& gradient : gradients) given.push_back(gradient.defined() ? &gradient : nullptr);
    std::vector<at::Tensor*> made(inputs, nullptr);
    char* error = backward(closure, given.data(), given.size(), made.data(), made.size());
    variable_list result(inputs);
    for (size_t i = 0; i < inputs; ++i) {
      if (made[i]) {
        result[i] = *made[i];
        delete made[i];
      }
    }
    if (error) {
      std::string text(error);
      free(error);
      throw std::runtime_error(label + ": " + text);
    }
    return result;
  }
};

}  // namespace

extern "C" char* tch_spiking_attach(at::Tensor* const* inputs, size_t input_count, at::Tensor* const* outputs,
                                    size_t output_count, const char* label, void* closure, Backward backward,
                                    Drop drop) {
  // From here on the node owns the closure: it is dropped with it, whatever fails below.
  std::shared_ptr<RustNode> node;
  try {
    node = std::shared_ptr<RustNode>(new RustNode(), torch::autograd::deleteNode);
  } catch (const std::exception& e) {
    drop(closure);
    return strdup(e.what());
  }
  node->closure = closure;
  node->backward = backward;
  node->drop = drop;
  node->inputs = input_count;
  try {
    node->label = label;
    variable_list list;
    for (size_t i = 0; i < input_count; ++i) list.push_back(*inputs[i]);
    node->set_next_edges(torch::autograd::collect_next_edges(list));
    for (size_t i = 0; i < output_count; ++i) {
      if (outputs[i]->requires_grad()) {
        throw std::runtime_error(node->label + ": output " + std::to_string(i) +
                                 " requires a gradient already: compute the outputs under no_grad, anew");
      }
    }
    for (size_t i = 0; i < output_count; ++i) torch::autograd::set_history(*outputs[i], node);
  } catch (const std::exception& e) {
    return strdup(e.what());
  }
  return nullptr;
}

extern "C" bool tch_spiking_gradients_enabled() { return at::GradMode::is_enabled(); }

// Two owners are those of a backward closure at work: the list that libtorch gave to `apply`, and the closure's own handle.
extern "C" bool tch_spiking_is_disposable(const at::Tensor* gradient) {
  return gradient->use_count() == 2 && gradient->has_storage() && gradient->storage().use_count() == 1 &&
         !gradient->requires_grad() && !at::GradMode::is_enabled();
}

// Rust frees the error texts that C++ made, and makes those that C++ frees, with the same allocator.
extern "C" char* tch_spiking_copy_text(const char* text, size_t length) { return strndup(text, length); }
extern "C" void tch_spiking_free_text(char* text) { free(text); }
