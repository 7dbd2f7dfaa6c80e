//! Custom gradients: an autograd node whose backward pass is a Rust closure.
//!
//! `tch` does not expose `autograd.Function`. Here the forward pass is ordinary Rust run under `no_grad`; [`attach`]
//! then tells libtorch that the outputs depend on the inputs, and which closure maps output gradients to input
//! gradients. The C++ half is `autograd.cpp`, a `torch::autograd::Node` that owns the boxed closure and drops it with
//! the graph.

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

/// A backward closure: takes the outputs' gradients (`None` for an unused output) and returns the inputs' gradients
/// (`None` for no gradient).
pub type BackwardFn = dyn FnMut(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, TchError> + Send;

type BackwardHandle =
    extern "C" fn(*mut c_void, *const *const C_tensor, usize, *mut *mut C_tensor, usize) -> *mut c_char;

// SAFETY: the signatures are those of autograd.cpp, which build.rs compiles into this very library.
unsafe extern "C" {
    fn tch_spiking_attach(
        inputs: *const *const C_tensor,
        input_count: usize,
        outputs: *const *const C_tensor,
        output_count: usize,
        label: *const c_char,
        closure: *mut c_void,
        backward: BackwardHandle,
        drop: extern "C" fn(*mut c_void),
    ) -> *mut c_char;
    fn tch_spiking_gradients_enabled() -> bool;
    fn tch_spiking_is_disposable(gradient: *const C_tensor) -> bool;
    fn tch_spiking_copy_text(text: *const c_char, length: usize) -> *mut c_char;
    fn tch_spiking_free_text(text: *mut c_char);
}

/// Makes `outputs`, computed from `inputs` under `no_grad`, differentiable: their gradient is what `backward` returns.
///
/// `backward` gets one gradient per output and returns one per input, in the same order and of the input's shape.
/// Tensors that it captures must be detached from the graph (created under `no_grad`, or `detach`ed): a captured output
/// would own the node that owns it. `label` is the operation's name in error messages and graph dumps.
///
/// Does nothing if gradients are disabled or no input requires one. An `Err` or a panic inside `backward` becomes the
/// error of [`Tensor::f_backward`].
///
/// # Errors
/// Returns an error if an output already requires gradients (computed without `no_grad`, or itself an input) or is an
/// integer tensor.
///
/// ```
/// use tch::{no_grad, Kind, Tensor};
/// use tch_spiking::autograd::attach;
///
/// // The cube, with a custom gradient.
/// let x = Tensor::from_slice(&[1.0, 2.0]).set_requires_grad(true);
/// let y = no_grad(|| &x * &x * &x);
/// let saved = x.detach();
/// attach("Cube", &[&x], &[&y], move |gradients| {
///     Ok(vec![gradients[0].as_ref().map(|g| g * 3.0 * &saved * &saved)])
/// })?;
/// y.sum(Kind::Double).backward();
/// assert_eq!(Vec::<f64>::try_from(x.grad())?, [3.0, 12.0]);
/// # Ok::<(), tch::TchError>(())
/// ```
pub fn attach<F>(label: &str, inputs: &[&Tensor], outputs: &[&Tensor], backward: F) -> Result<(), TchError>
where
    F: FnMut(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, TchError> + Send + 'static,
{
    // SAFETY: reads a flag of this thread.
    if !unsafe { tch_spiking_gradients_enabled() } || !inputs.iter().any(|input| input.requires_grad()) {
        return Ok(());
    }
    let label = CString::new(label)?;
    let inputs: Vec<_> = inputs.iter().map(|tensor| tensor.as_ptr()).collect();
    let outputs: Vec<_> = outputs.iter().map(|tensor| tensor.as_ptr()).collect();
    let closure: Box<Box<BackwardFn>> = Box::new(Box::new(backward));
    // SAFETY: the pointers are borrowed from live tensors for the length of the call; the closure's ownership passes to
    // the node, which calls `drop_closure` exactly once, also when attaching fails.
    let error = unsafe {
        tch_spiking_attach(
            inputs.as_ptr(),
            inputs.len(),
            outputs.as_ptr(),
            outputs.len(),
            label.as_ptr(),
            Box::into_raw(closure).cast(),
            call_closure,
            drop_closure,
        )
    };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null result is a null-terminated string that this function must free.
    let text = unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        tch_spiking_free_text(error);
        text
    };
    Err(TchError::Torch(text))
}

/// Returns whether a backward closure holds the last reference to the memory of `gradient` and may overwrite it.
///
/// False for a gradient that is kept elsewhere (`retain_grad`, another branch of the graph), is a view of other memory,
/// or will itself be differentiated.
pub(crate) fn is_disposable(gradient: &Tensor) -> bool {
    // SAFETY: reads the counts of a live tensor.
    unsafe { tch_spiking_is_disposable(gradient.as_ptr()) }
}

extern "C" fn call_closure(
    closure: *mut c_void,
    gradients: *const *const C_tensor,
    outputs: usize,
    made: *mut *mut C_tensor,
    inputs: usize,
) -> *mut c_char {
    let run = AssertUnwindSafe(|| -> Result<(), String> {
        // SAFETY: autograd.cpp passes the closure made in `attach`, `outputs` tensor pointers (null for undefined) that
        // live for this call, and room for `inputs` pointers. An owned tensor is written only once all are known to be
        // good.
        unsafe {
            let closure = &mut *closure.cast::<Box<BackwardFn>>();
            let gradients: Vec<Option<Tensor>> = std::slice::from_raw_parts(gradients, outputs)
                .iter()
                .map(|&pointer| (!pointer.is_null()).then(|| Tensor::clone_from_ptr(pointer.cast_mut())))
                .collect();
            let results = closure(&gradients).map_err(|error| error.to_string())?;
            if results.len() != inputs {
                return Err(format!("backward returned {} gradients for {inputs} inputs", results.len()));
            }
            for (index, result) in results.into_iter().enumerate() {
                if let Some(mut tensor) = result {
                    *made.add(index) = tensor.as_mut_ptr();
                    std::mem::forget(tensor);
                }
            }
        }
        Ok(())
    });
    let error = match catch_unwind(run) {
        Ok(Ok(())) => return std::ptr::null_mut(),
        Ok(Err(error)) => error,
        Err(panic) => format!("panic in a backward closure: {}", panic_text(panic.as_ref())),
    };
    // SAFETY: the string is read up to its length, and stops at a null byte.
    unsafe { tch_spiking_copy_text(error.as_ptr().cast(), error.len()) }
}

extern "C" fn drop_closure(closure: *mut c_void) {
    // SAFETY: called once by the node that owns the closure made in `attach`.
    let closure = unsafe { Box::from_raw(closure.cast::<Box<BackwardFn>>()) };
    // A panic while dropping a captured value may not unwind into C++.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(closure)));
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no message",
    }
}
