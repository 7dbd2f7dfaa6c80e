//! The custom autograd node: gradients, errors, lifetimes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tch::{Kind, TchError, Tensor, no_grad};
use tch_spiking::autograd::attach;

fn leaf(numbers: &[f64]) -> Tensor {
    Tensor::from_slice(numbers).set_requires_grad(true)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.try_into().unwrap()
}

/// The square, keeping `guard` in the backward closure.
fn square<T: Send + 'static>(x: &Tensor, guard: T) -> Tensor {
    let y = no_grad(|| x * x);
    let saved = x.detach();
    attach("Square", &[x], &[&y], move |gradients| {
        let _ = &guard;
        Ok(vec![gradients[0].as_ref().map(|gradient| gradient * 2.0 * &saved)])
    })
    .unwrap();
    y
}

/// `x` through an operation whose backward is `backward`, then what backward through its sum answers.
fn backward_error(
    backward: impl FnMut(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, TchError> + Send + 'static,
) -> String {
    let x = leaf(&[1.0, 2.0]);
    let y = no_grad(|| &x + 1.0);
    attach("Faulty", &[&x], &[&y], backward).unwrap();
    y.sum(Kind::Double).f_backward().unwrap_err().to_string()
}

#[test]
fn chain_rule_across_a_larger_graph() {
    let x = leaf(&[0.5, -1.0, 2.0]);
    // Twice in a row and once beside: d/dx [sin((3x)^4) + x^2] with a node used by two others.
    let once = square(&(&x * 3.0), ());
    let loss = (square(&once, ()).sin() + square(&x, ()) + &once * 0.5).sum(Kind::Double);
    loss.backward();
    let expected: Vec<f64> =
        [0.5f64, -1.0, 2.0].iter().map(|x| (81.0 * x.powi(4)).cos() * 324.0 * x.powi(3) + 2.0 * x + 9.0 * x).collect();
    for (ours, expected) in numbers(&x.grad()).into_iter().zip(expected) {
        assert!((ours - expected).abs() < 1e-9 * expected.abs(), "{ours} {expected}");
    }
}

#[test]
fn several_inputs_and_outputs() {
    let (a, b) = (leaf(&[2.0, 3.0]), leaf(&[5.0, 7.0]));
    let run = |use_product: bool, use_sum: bool| {
        let (product, sum) = no_grad(|| (&a * &b, &a + &b));
        let (saved_a, saved_b) = (a.detach(), b.detach());
        attach("ProductAndSum", &[&a, &b], &[&product, &sum], move |gradients| {
            assert_eq!([gradients[0].is_some(), gradients[1].is_some()], [use_product, use_sum]);
            let zero = saved_a.zeros_like();
            let [to_product, to_sum] = [0, 1].map(|i| gradients[i].as_ref().unwrap_or(&zero));
            Ok(vec![Some(to_product * &saved_b + to_sum), Some(to_product * &saved_a + to_sum)])
        })
        .unwrap();
        let mut losses = vec![];
        if use_product {
            losses.push(product.sum(Kind::Double));
        }
        if use_sum {
            losses.push(sum.sum(Kind::Double) * 10.0);
        }
        let gradients = Tensor::run_backward(&losses, &[&a, &b], false, false);
        [numbers(&gradients[0]), numbers(&gradients[1])]
    };
    assert_eq!(run(true, true), [[15.0, 17.0], [12.0, 13.0]]);
    assert_eq!(run(true, false), [[5.0, 7.0], [2.0, 3.0]]);
    assert_eq!(run(false, true), [[10.0, 10.0], [10.0, 10.0]]);
}

#[test]
fn no_gradient_for_an_input_is_none() {
    let (a, b) = (leaf(&[2.0]), leaf(&[5.0]));
    let y = no_grad(|| &a + &b);
    attach("OnlyFirst", &[&a, &b], &[&y], |gradients| Ok(vec![gradients[0].as_ref().map(Tensor::shallow_clone), None]))
        .unwrap();
    y.sum(Kind::Double).backward();
    assert_eq!(numbers(&a.grad()), [1.0]);
    assert!(!b.grad().defined());
}

#[test]
fn only_inputs_that_require_a_gradient_get_one() {
    let (a, b) = (leaf(&[2.0]), Tensor::from_slice(&[5.0]));
    let y = no_grad(|| &a * &b);
    attach("Product", &[&a, &b], &[&y], |gradients| {
        let copy = || gradients[0].as_ref().map(Tensor::shallow_clone);
        Ok(vec![copy(), copy()])
    })
    .unwrap();
    y.sum(Kind::Double).backward();
    assert!(a.grad().defined() && !b.grad().defined());
}

#[test]
fn nothing_is_attached_where_no_gradient_is_wanted() {
    let guard = Arc::new(());
    let x = leaf(&[1.0]);
    let without = no_grad(|| square(&x, guard.clone()));
    let constant = square(&Tensor::from_slice(&[1.0]), guard.clone());
    assert!(!without.requires_grad() && !constant.requires_grad());
    assert_eq!(Arc::strong_count(&guard), 1, "the closures are dropped at once");
    assert!(square(&x, guard.clone()).requires_grad());
}

#[test]
fn closure_lives_exactly_as_long_as_the_graph() {
    let guard = Arc::new(());
    let x = leaf(&[1.0]);
    let y = square(&x, guard.clone());
    let loss = y.sum(Kind::Double);
    loss.backward();
    assert_eq!(Arc::strong_count(&guard), 2);
    drop(y);
    assert_eq!(Arc::strong_count(&guard), 2, "the loss still holds the graph");
    drop(loss);
    assert_eq!(Arc::strong_count(&guard), 1);
}

#[test]
fn closure_is_dropped_when_attaching_fails() {
    let guard = Arc::new(());
    let x = leaf(&[1.0]);
    let kept = guard.clone();
    let result = attach("Integers", &[&x], &[&Tensor::from_slice(&[1i64])], move |_| {
        let _ = &kept;
        Ok(vec![None])
    });
    assert!(result.is_err());
    let kept = guard.clone();
    let result = attach("nul\0byte", &[&x], &[&no_grad(|| &x + 1.0)], move |_| {
        let _ = &kept;
        Ok(vec![None])
    });
    assert!(result.is_err());
    assert_eq!(Arc::strong_count(&guard), 1);
}

#[test]
fn an_output_with_a_gradient_already_is_refused() {
    let x = leaf(&[1.0]);
    for output in [&leaf(&[1.0]), &(&x + 1.0), &x] {
        let error = attach("Again", &[&x], &[output], |_| Ok(vec![None])).unwrap_err().to_string();
        assert!(error.contains("Again") && error.contains("no_grad"), "{error}");
        output.sum(Kind::Double).backward();
    }
}

#[test]
fn ten_thousand_graphs_leave_nothing_behind() {
    let guard = Arc::new(());
    let x = leaf(&[0.5; 1000]);
    let make_graphs = |count| {
        for round in 0..count {
            let y = square(&square(&x, guard.clone()), guard.clone());
            // Some graphs are thrown away without ever going backward.
            if round % 3 != 0 {
                let gradients = Tensor::run_backward(&[y.sum(Kind::Double)], &[&x], false, false);
                assert!(gradients[0].defined());
            }
        }
    };
    make_graphs(1000); // What libtorch and the allocator keep for good.
    let before = resident_bytes();
    make_graphs(10_000);
    assert_eq!(Arc::strong_count(&guard), 1);
    // One leaked tensor a round would be 80 MB.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 20_000_000, "{grown} bytes more than before");
}

/// The memory of this process, or 0 where the system does not say.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok()).unwrap_or(0) * 4096
}

#[test]
fn an_error_in_backward_is_the_error_of_backward() {
    let error = backward_error(|_| Err(TchError::Kind("out of ideas".to_string())));
    assert!(error.contains("Faulty") && error.contains("out of ideas"), "{error}");
}

#[test]
fn a_panic_in_backward_is_the_error_of_backward() {
    std::panic::set_hook(Box::new(|_| {}));
    let fixed = backward_error(|_| panic!("a fixed text"));
    let formatted = backward_error(|gradients| panic!("{} gradients", gradients.len()));
    let silent = backward_error(|_| std::panic::panic_any(5));
    let _ = std::panic::take_hook();
    assert!(fixed.contains("Faulty") && fixed.contains("a fixed text"), "{fixed}");
    assert!(formatted.contains("1 gradients"), "{formatted}");
    assert!(silent.contains("panic"), "{silent}");
}

#[test]
fn a_wrong_number_of_gradients_is_an_error() {
    for count in [0, 2] {
        let error = backward_error(move |gradients| {
            Ok((0..count).map(|_| gradients[0].as_ref().map(Tensor::shallow_clone)).collect())
        });
        assert!(error.contains("Faulty") && error.contains(&format!("{count} gradients for 1 input")), "{error}");
    }
}

#[test]
fn a_gradient_of_the_wrong_shape_is_an_error() {
    let error = backward_error(|_| Ok(vec![Some(Tensor::from_slice(&[1.0, 2.0, 3.0]))]));
    assert!(error.contains("Faulty"), "{error}");
}

#[test]
fn after_an_error_the_next_backward_works() {
    let _ = backward_error(|_| Err(TchError::Kind(String::new())));
    let x = leaf(&[3.0]);
    square(&x, ()).sum(Kind::Double).backward();
    assert_eq!(numbers(&x.grad()), [6.0]);
}

#[test]
fn a_kept_graph_goes_backward_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let x = leaf(&[1.0]);
    let y = no_grad(|| &x * 2.0);
    let counted = calls.clone();
    attach("Double", &[&x], &[&y], move |gradients| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(vec![gradients[0].as_ref().map(|gradient| gradient * 2.0)])
    })
    .unwrap();
    for _ in 0..3 {
        let gradients = Tensor::run_backward(&[&y], &[&x], true, false);
        assert_eq!(numbers(&gradients[0]), [2.0]);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[test]
fn graphs_may_be_built_and_used_on_other_threads() {
    let threads: Vec<_> = (0..4)
        .map(|i| {
            std::thread::spawn(move || {
                let x = leaf(&[f64::from(i)]);
                let y = square(&x, ());
                (x, y)
            })
        })
        .collect();
    for (i, thread) in threads.into_iter().enumerate() {
        let (x, y) = thread.join().unwrap();
        let gradient = std::thread::spawn(move || {
            y.sum(Kind::Double).backward();
            numbers(&x.grad())
        });
        assert_eq!(gradient.join().unwrap(), [2.0 * i as f64]);
    }
}
