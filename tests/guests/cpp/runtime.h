// What a C++ program with exceptions needs at run time, for programs of one file. zig's compiler brings libc++abi and
// libunwind without exceptions, and needs minutes to build them; so here is the part of them that these programs use.
// Names and layouts are what the compiler expects: catch clauses for a type itself, `catch (...)`, rethrowing, cleanups.

#include <stddef.h>
#include <stdint.h>

namespace std {

class type_info {
 public:
  virtual ~type_info();
  const char* name;
};

type_info::~type_info() {}

[[noreturn]] void terminate() { __builtin_trap(); }

}  // namespace std

namespace __cxxabiv1 {

// The kinds of types that there are descriptions of: classes without a base, and what the language brings.
struct __class_type_info {
  virtual ~__class_type_info();
};
__class_type_info::~__class_type_info() {}

// Where this is defined, the compiler puts the descriptions of the latter.
struct __fundamental_type_info {
  virtual ~__fundamental_type_info();
};
__fundamental_type_info::~__fundamental_type_info() {}

}  // namespace __cxxabiv1

void operator delete(void*, size_t) noexcept { __builtin_trap(); }

__asm__(
    ".tagtype __cpp_exception i32\n"
    ".globl __cpp_exception\n"
    "__cpp_exception:\n");

namespace {

constexpr size_t kLargest = 48;
constexpr int kMost = 256;

// A destructor; on WebAssembly it returns the object.
using Destroy = void* (*)(void*);

// An exception; what is thrown is a pointer to its object.
struct Exception {
  const std::type_info* type;
  Destroy destroy;
  Exception* below;  // among those that are being handled
  int handlers;      // negative while it is thrown again
  bool used;
  alignas(16) unsigned char object[kLargest];
};

// A piece of memory that is free.
struct Piece {
  Piece* next;
};

Piece* pieces;
size_t piece_size;

Exception exceptions[kMost];
Exception* handled;

Exception* exception_of(void* object) {
  return reinterpret_cast<Exception*>(static_cast<unsigned char*>(object) - offsetof(Exception, object));
}

void free_exception(Exception* exception) {
  if (exception->destroy) exception->destroy(exception->object);
  exception->used = false;
}

uintptr_t read_unsigned(const uint8_t*& at) {
  uintptr_t value = 0;
  for (int shift = 0;; shift += 7) {
    uint8_t byte = *at++;
    value |= static_cast<uintptr_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

intptr_t read_signed(const uint8_t*& at) {
  intptr_t value = 0;
  for (int shift = 0;;) {
    uint8_t byte = *at++;
    value |= static_cast<intptr_t>(byte & 0x7f) << shift;
    shift += 7;
    if (byte < 0x80) return shift < 32 && (byte & 0x40) ? value | -(static_cast<intptr_t>(1) << shift) : value;
  }
}

// Which catch clause of a landing pad takes a type, as a number that the program compares: 0 is none.
uintptr_t find_clause(const uint8_t* lsda, uintptr_t pad, const std::type_info* thrown) {
  constexpr uint8_t kOmitted = 0xff;
  if (*lsda++ != kOmitted) __builtin_trap();  // where landing pads begin: never there
  const uint8_t* types = nullptr;
  if (*lsda++ != kOmitted) {
    uintptr_t offset = read_unsigned(lsda);
    types = lsda + offset;
  }
  ++lsda;  // how entries are encoded
  uintptr_t size = read_unsigned(lsda);
  const uint8_t* actions = lsda + size;
  uintptr_t action = 0;
  for (uintptr_t entry = 0; entry <= pad; ++entry) {
    read_unsigned(lsda);
    action = read_unsigned(lsda);
  }
  if (action == 0) return 0;
  const uint8_t* at = actions + action - 1;
  for (;;) {
    intptr_t number = read_signed(at);
    const uint8_t* next = at;
    intptr_t distance = read_signed(at);
    if (number > 0) {
      const std::type_info* type = reinterpret_cast<const std::type_info* const*>(types)[-number];
      if (!type || type == thrown) return number;
    }
    if (distance == 0) return 0;
    at = next + distance;
  }
}

}  // namespace

extern "C" {

struct {
  uintptr_t pad;
  uintptr_t lsda;
  uintptr_t selector;
} __wasm_lpad_context;

int _Unwind_CallPersonality(void* object) {
  auto lsda = reinterpret_cast<const uint8_t*>(__wasm_lpad_context.lsda);
  __wasm_lpad_context.selector = find_clause(lsda, __wasm_lpad_context.pad, exception_of(object)->type);
  return 0;
}

void* __cxa_allocate_exception(size_t size) {
  if (size > kLargest) __builtin_trap();
  for (Exception& exception : exceptions) {
    if (!exception.used) {
      exception.used = true;
      return exception.object;
    }
  }
  __builtin_trap();
}

[[noreturn]] void __cxa_throw(void* object, std::type_info* type, Destroy destroy) {
  Exception* exception = exception_of(object);
  exception->type = type;
  exception->destroy = destroy;
  exception->handlers = 0;
  __builtin_wasm_throw(0, object);
}

void* __cxa_begin_catch(void* object) {
  Exception* exception = exception_of(object);
  exception->handlers = (exception->handlers < 0 ? -exception->handlers : exception->handlers) + 1;
  if (handled != exception) {
    exception->below = handled;
    handled = exception;
  }
  return object;
}

void __cxa_end_catch() {
  Exception* exception = handled;
  if (exception->handlers < 0) {
    if (++exception->handlers == 0) handled = exception->below;  // it goes on
  } else if (--exception->handlers == 0) {
    handled = exception->below;
    free_exception(exception);
  }
}

[[noreturn]] void __cxa_rethrow() {
  handled->handlers = -handled->handlers;
  __builtin_wasm_throw(0, handled->object);
}

// For hosts, which keep the stacks of further calls here: all pieces are as large as the first one.
void* malloc(size_t size) __attribute__((export_name("malloc")));
void free(void* piece) __attribute__((export_name("free")));

void* malloc(size_t size) {
  if (!piece_size) piece_size = size;
  if (size > piece_size) return nullptr;
  if (Piece* piece = pieces) {
    pieces = piece->next;
    return piece;
  }
  constexpr size_t kPage = 65536;
  size_t page = __builtin_wasm_memory_grow(0, (piece_size + kPage - 1) / kPage);
  return page == SIZE_MAX ? nullptr : reinterpret_cast<void*>(page * kPage);
}

void free(void* piece) {
  auto freed = static_cast<Piece*>(piece);
  if (!freed) return;
  freed->next = pieces;
  pieces = freed;
}

int exceptions_left() __attribute__((export_name("exceptions_left")));
int exceptions_left() {
  int left = 0;
  for (const Exception& exception : exceptions) left += exception.used;
  return left;
}

}  // extern "C"
