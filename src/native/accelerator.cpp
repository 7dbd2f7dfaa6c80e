// The C++ half of `accelerator.rs`: what libtorch knows of its CUDA devices.
#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>

extern "C" void tch_spiking_allow_tf32(bool allowed) {
  at::globalContext().setAllowTF32CuBLAS(allowed);
  at::globalContext().setAllowTF32CuDNN(allowed);
}

// The CUDA stream that libtorch queues work of this thread on; null is the default stream. False if there is none.
extern "C" bool tch_spiking_current_stream(int device, void** stream) {
  try {
    *stream = at::accelerator::getCurrentStream(static_cast<c10::DeviceIndex>(device)).native_handle();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}
