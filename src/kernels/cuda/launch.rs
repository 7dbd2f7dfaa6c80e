//! Launch descriptions: kernel, grid and arguments, independent of how they are run; those of the rate kernels.

use tch::{Kind, TchError, Tensor};

/// Threads per block.
pub(super) const BLOCK: u32 = 128;
/// The largest number of row chunks in the sum of the bias gradient.
const CHUNKS: i64 = 32;
/// The largest size of a grid along its second dimension.
const MOST_ROWS: i64 = 65_535;

/// One launch of a kernel. Every argument is a pointer or a `long long`: 8 bytes.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) kernel: &'static str,
    pub(super) grid: [u32; 2],
    pub(super) block: u32,
    pub(super) arguments: Vec<u64>,
}

pub(super) type Run<'a> = &'a dyn Fn(Launch) -> Result<(), TchError>;

pub(super) fn rate_forward(run: Run, drive: [&Tensor; 3], output: &mut Tensor) -> Result<(), TchError> {
    let (rows, neurons) = shape(drive);
    check(&[drive[0], output], rows * neurons, drive[0].kind())?;
    check(&drive[1..], neurons, computed(drive[0].kind()))?;
    if rows * neurons == 0 {
        return Ok(());
    }
    run(Launch {
        kernel: "rate_forward",
        grid: [blocks(neurons)?, rows.min(MOST_ROWS) as u32],
        block: BLOCK,
        arguments: [&pointers(&drive)[..], &pointers(&[output]), &[rows as u64, neurons as u64]].concat(),
    })
}

pub(super) fn rate_backward(
    run: Run,
    drive: [&Tensor; 3],
    gradient: &mut Tensor,
    bias_gradient: &mut Tensor,
) -> Result<(), TchError> {
    let (rows, neurons) = shape(drive);
    let kind = drive[0].kind();
    check(&[drive[0], gradient], rows * neurons, kind)?;
    check(&[drive[1], drive[2], bias_gradient], neurons, computed(kind))?;
    if rows * neurons == 0 {
        let _ = bias_gradient.f_zero_()?;
        return Ok(());
    }
    let chunk = (rows + CHUNKS - 1) / CHUNKS;
    let chunks = (rows + chunk - 1) / chunk;
    let sums = Tensor::f_empty([chunks, neurons], (computed(kind), drive[0].device()))?;
    let tensors = [drive[0], drive[1], drive[2], gradient, &sums];
    run(Launch {
        kernel: "rate_backward",
        grid: [blocks(neurons)?, chunks as u32],
        block: BLOCK,
        arguments: [&pointers(&tensors)[..], &[rows as u64, neurons as u64, chunk as u64]].concat(),
    })?;
    let sum = sums.f_sum_dim_intlist(0, false, computed(kind))?;
    bias_gradient.f_view(-1)?.f_copy_(&sum)?;
    Ok(())
}

/// Returns the number of rows and of neurons per row.
fn shape(drive: [&Tensor; 3]) -> (i64, i64) {
    let neurons = drive[2].numel() as i64;
    ((drive[0].numel() as i64).checked_div(neurons).unwrap_or(0), neurons)
}

/// Returns the dtype in which values of `kind` are computed.
pub(super) fn computed(kind: Kind) -> Kind {
    if kind == Kind::BFloat16 { Kind::Float } else { kind }
}

/// Checks the tensors, since the kernels do not check bounds.
pub(super) fn check(tensors: &[&Tensor], elements: i64, kind: Kind) -> Result<(), TchError> {
    let fits = |tensor: &&Tensor| {
        tensor.is_contiguous()
            && tensor.numel() as i64 == elements
            && tensor.kind() == kind
            && tensor.device() == tensors[0].device()
    };
    match tensors.iter().find(|tensor| !fits(tensor)) {
        None => Ok(()),
        Some(tensor) => Err(TchError::Shape(format!(
            "a kernel needs {elements} contiguous numbers of {kind:?}, not {:?} of {:?}",
            tensor.size(),
            tensor.kind()
        ))),
    }
}

pub(super) fn blocks(threads: i64) -> Result<u32, TchError> {
    let blocks = threads.unsigned_abs().div_ceil(u64::from(BLOCK));
    // CUDA allows 2^31 - 1.
    match i32::try_from(blocks) {
        Ok(blocks) => Ok(blocks.unsigned_abs()),
        Err(_) => Err(TchError::Shape(format!("a launch of {threads} neurons is too large: use smaller batches"))),
    }
}

pub(super) fn pointer(tensor: &Tensor) -> u64 {
    tensor.data_ptr() as u64
}

pub(super) fn pointers(tensors: &[&Tensor]) -> Vec<u64> {
    tensors.iter().map(|tensor| pointer(tensor)).collect()
}
