// The C++ half of `signals.rs`: which signals are ignored, as a set of bits in the order of `SIGNALS`.
#ifndef _WIN32
#include <csignal>

namespace {
constexpr int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP};
}

extern "C" unsigned tch_spiking_ignored_signals() {
  unsigned ignored = 0, bit = 1;
  for (int signal : SIGNALS) {
    struct sigaction now;
    if (sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) ignored |= bit;
    bit <<= 1;
  }
  return ignored;
}

extern "C" void tch_spiking_ignore_signals(unsigned ignored) {
  unsigned bit = 1;
  for (int signal : SIGNALS) {
    if (ignored & bit) std::signal(signal, SIG_IGN);
    bit <<= 1;
  }
}
#else
extern "C" unsigned tch_spiking_ignored_signals() { return 0; }
extern "C" void tch_spiking_ignore_signals(unsigned) {}
#endif
