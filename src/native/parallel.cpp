// The C++ half of `parallel.rs`: libtorch's own thread pool.
#include <ATen/Parallel.h>

extern "C" void tch_spiking_parallel_for(int64_t count, int64_t grain, void* context,
                                         void (*body)(void* context, int64_t begin, int64_t end)) {
  at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) { body(context, begin, end); });
}
