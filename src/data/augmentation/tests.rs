use tch::{Device, Kind, Tensor};

use super::*;
use crate::engine::Activity;

const KEY: AugmentationKey = AugmentationKey { seed: 3, epoch: 2 };

/// All at once.
fn everything() -> Augmentation {
    Augmentation {
        rotation: 25.0,
        shift: 2.5,
        scale: [0.8, 1.3],
        shear: 10.0,
        flip: 0.5,
        crop: 2,
        erase: Some(Erase::default()),
        outside: 0.25,
    }
}

fn noise(shape: &[i64], kind: Kind) -> Tensor {
    let count: i64 = shape.iter().product();
    ((Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.618_033_988_749_894_9).frac() * 255.0)
        .to_kind(kind)
        .reshape(shape)
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap().into_iter().map(f32::to_bits).collect()
}

/// Transforms the only image of a batch.
fn transformed(image: &Tensor, transform: Transform, augmentation: &Augmentation) -> Tensor {
    let size = image.size();
    let shape = [size[1], size[2], size[3]].map(|size| size as usize);
    augmentation.apply_transforms(&Activity::constant(image), shape, &[transform]).unwrap().into_tensor()
}

#[test]
fn what_changes_nothing_changes_no_bit() {
    let images = noise(&[3, 2, 5, 7], Kind::Float);
    for (index, odd) in [f64::NAN, f64::NEG_INFINITY, -0.0, 1e-42].into_iter().enumerate() {
        let _ = images.get(1).get(0).get(2).get(index as i64).fill_(odd);
    }
    let same = Augmentation::default().apply(&Activity::constant(&images), &[5, 0, 9], KEY).unwrap();
    assert_eq!(bits(same.tensor()), bits(&images));
}

/// Where every pixel comes from one pixel, it is that pixel.
#[test]
fn right_angles_whole_shifts_flips_and_crops_are_exact() {
    let none = Transform::default();
    let augmentation = Augmentation { outside: -7.0, ..Augmentation::default() };
    type Source = fn(i64, i64, [i64; 2]) -> [i64; 2];
    // From row and column of the result to those of the source; turned counter-clockwise, as numpy's rot90.
    let cases: [(Transform, Source); 9] = [
        (Transform { rotation: 90.0, ..none }, |y, x, [height, _]| [x, height - 1 - y]),
        (Transform { rotation: 180.0, ..none }, |y, x, [height, width]| [height - 1 - y, width - 1 - x]),
        (Transform { rotation: -90.0, ..none }, |y, x, [_, width]| [width - 1 - x, y]),
        (Transform { shift: [2.0, -1.0], ..none }, |y, x, _| [y + 1, x - 2]),
        (Transform { shift: [-40.0, 0.0], ..none }, |y, x, _| [y, x + 40]),
        (Transform { flip: true, ..none }, |y, x, [_, width]| [y, width - 1 - x]),
        (Transform { crop: [3, -2], ..none }, |y, x, _| [y - 2, x + 3]),
        // Flipped first, then cropped.
        (Transform { flip: true, crop: [1, 0], ..none }, |y, x, [_, width]| [y, width - 1 - (x + 1)]),
        (Transform { flip: true, rotation: 180.0, shift: [0.0, 1.0], ..none }, |y, x, [height, _]| [height - y, x]),
    ];
    for (kind, size) in [(Kind::Float, [6, 6]), (Kind::Double, [6, 6]), (Kind::Float, [5, 7])] {
        let image = noise(&[1, 2, size[0], size[1]], kind);
        for (transform, source) in &cases {
            if size[0] != size[1] && transform.rotation.abs() == 90.0 {
                continue;
            }
            let ours = transformed(&image, *transform, &augmentation);
            for (channel, y, x) in
                (0..2).flat_map(|c| (0..size[0]).flat_map(move |y| (0..size[1]).map(move |x| (c, y, x))))
            {
                let [from_y, from_x] = source(y, x, size);
                let inside = (0..size[0]).contains(&from_y) && (0..size[1]).contains(&from_x);
                let expected = if inside { image.double_value(&[0, channel, from_y, from_x]) } else { -7.0 };
                assert_eq!(ours.double_value(&[0, channel, y, x]), expected, "{transform:?} at {y}, {x}");
            }
        }
    }
}

/// The point of the picture at `at` goes where the transformation takes it, step by step.
fn forward(transform: &Transform, at: [f64; 2], size: [f64; 2]) -> [f64; 2] {
    let middle = size.map(|size| (size - 1.0) / 2.0);
    let flipped = if transform.flip { size[0] - 1.0 - at[0] } else { at[0] };
    let [x, y] = [flipped - transform.crop[0] as f64 - middle[0], at[1] - transform.crop[1] as f64 - middle[1]];
    let sheared = [x + transform.shear.to_radians().tan() * y, y].map(|value| value * transform.scale);
    let (sine, cosine) = transform.rotation.to_radians().sin_cos();
    let turned = [cosine * sheared[0] + sine * sheared[1], cosine * sheared[1] - sine * sheared[0]];
    std::array::from_fn(|i| turned[i] + middle[i] + transform.shift[i])
}

#[test]
fn any_transformation_is_bilinear_sampling_of_its_inverse() {
    let (height, width) = (9, 11);
    let augmentation = everything();
    let image = noise(&[1, 1, height, width], Kind::Double);
    let pixel = |y: i64, x: i64| match (0..height).contains(&y) && (0..width).contains(&x) {
        true => image.double_value(&[0, 0, y, x]),
        false => augmentation.outside,
    };
    for sample in 0..20 {
        let transform = Transform { erased: None, ..augmentation.transform(KEY, sample, [9, 11]) };
        let ours = transformed(&image, transform, &augmentation);
        let map = transform.warp([9, 11], &augmentation).map;
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let [from_x, from_y] = map.map(|[by_x, by_y, constant]| by_x * x as f64 + by_y * y as f64 + constant);
            let [back_x, back_y] = forward(&transform, [from_x, from_y], [11.0, 9.0]);
            assert!((back_x - x as f64).abs() < 1e-9 && (back_y - y as f64).abs() < 1e-9, "{transform:?}");
            let (left, top) = (from_x.floor(), from_y.floor());
            let (right, down) = (from_x - left, from_y - top);
            let row = |y: i64| pixel(y, left as i64) * (1.0 - right) + pixel(y, left as i64 + 1) * right;
            let expected = row(top as i64) * (1.0 - down) + row(top as i64 + 1) * down;
            let found = ours.double_value(&[0, 0, y, x]);
            // Positions are computed in single precision.
            assert!((found - expected).abs() < 2e-3, "{transform:?} at {y}, {x}: {found}, expected {expected}");
        }
    }
}

#[test]
fn an_image_depends_on_seed_epoch_and_its_own_number_alone() {
    let augmentation = everything();
    let images = noise(&[6, 1, 8, 8], Kind::Float);
    let rows = [40, 3, 12_345, 7, 0, 9];
    let apply = |places: &[i64], key| {
        let chosen = images.index_select(0, &Tensor::from_slice(places));
        let rows: Vec<i64> = places.iter().map(|&place| rows[place as usize]).collect();
        augmentation.apply(&Activity::Constant(chosen), &rows, key).unwrap().into_tensor()
    };
    let all = apply(&[0, 1, 2, 3, 4, 5], KEY);
    for places in [&[5_i64, 2][..], &[1], &[4, 3, 0]] {
        for (index, image) in (0..).zip(places) {
            assert_eq!(bits(&apply(places, KEY).get(index)), bits(&all.get(*image)));
        }
    }
    for other in [AugmentationKey { epoch: 3, ..KEY }, AugmentationKey { seed: 4, ..KEY }] {
        assert_ne!(bits(&apply(&[0], other)), bits(&all.get(0).unsqueeze(0)));
    }
    // The images of a sequence are transformed alike.
    let sequence = Activity::Varying(images.unsqueeze(0).repeat([3, 1, 1, 1, 1]));
    let sequence = augmentation.apply(&sequence, &rows, KEY).unwrap().into_tensor();
    for step in 0..3 {
        assert_eq!(bits(&sequence.get(step)), bits(&all));
    }
}

#[test]
fn what_is_drawn_covers_the_ranges_evenly_and_settings_do_not_disturb_each_other() {
    let augmentation = everything();
    let drawn: Vec<Transform> = (0..6000).map(|sample| augmentation.transform(KEY, sample, [28, 20])).collect();
    let spread = |name: &str, value: &dyn Fn(&Transform) -> f64, low: f64, high: f64| {
        let values: Vec<f64> = drawn.iter().map(value).collect();
        let part =
            |from: f64| values.iter().filter(|value| (**value - low) / (high - low) < from).count() as f64 / 6000.0;
        assert!(values.iter().all(|value| (low..=high).contains(value)), "{name}");
        for quarter in [0.01, 0.25, 0.5, 0.75, 0.99] {
            assert!((part(quarter) - quarter).abs() < 0.02, "{name}: {} below {quarter}", part(quarter));
        }
    };
    spread("rotation", &|transform| transform.rotation, -25.0, 25.0);
    spread("shift", &|transform| transform.shift[0], -2.5, 2.5);
    spread("shift", &|transform| transform.shift[1], -2.5, 2.5);
    spread("scale", &|transform| transform.scale, 0.8, 1.3);
    spread("shear", &|transform| transform.shear, -10.0, 10.0);
    let share =
        |of: &dyn Fn(&Transform) -> bool| drawn.iter().filter(|transform| of(transform)).count() as f64 / 6000.0;
    assert!((share(&|transform| transform.flip) - 0.5).abs() < 0.02);
    for place in -2..=2 {
        assert!((share(&|transform| transform.crop[0] == place) - 0.2).abs() < 0.02);
        assert!((share(&|transform| transform.crop[1] == place) - 0.2).abs() < 0.02);
    }
    assert!((share(&|transform| transform.erased.is_some()) - 0.5).abs() < 0.02);
    for Rectangle { top, left, height, width } in drawn.iter().filter_map(|transform| transform.erased) {
        assert!(top + height <= 28 && left + width <= 20);
        let area = (height * width) as f64 / 560.0;
        assert!((0.005..0.36).contains(&area), "{height} x {width}");
    }

    let rotation_alone = Augmentation { rotation: 25.0, ..Augmentation::default() };
    let alone = rotation_alone.transform(KEY, 77, [28, 20]);
    assert_eq!(alone, Transform { rotation: drawn[77].rotation, ..Transform::default() });
}

#[test]
fn what_is_erased_has_one_value_and_the_rest_is_as_it_was() {
    let augmentation = Augmentation {
        erase: Some(Erase { probability: 1.0, value: 9.5, ..Erase::default() }),
        ..Augmentation::default()
    };
    let image = noise(&[1, 2, 10, 12], Kind::Float);
    let erased = augmentation.apply(&Activity::constant(&image), &[4], KEY).unwrap().into_tensor();
    let Rectangle { top, left, height, width } = augmentation.transform(KEY, 4, [10, 12]).erased.unwrap();
    let _ = image.narrow(2, top as i64, height as i64).narrow(3, left as i64, width as i64).fill_(9.5);
    assert_eq!(bits(&erased), bits(&image));
}

#[test]
fn what_is_no_image_is_an_error() {
    for (shape, rows) in [(&[2, 5][..], &[0, 1][..]), (&[2, 5, 5], &[0, 1]), (&[2, 1, 5, 5], &[0])] {
        let error =
            everything().apply(&Activity::Constant(noise(shape, Kind::Float)), rows, KEY).unwrap_err().to_string();
        assert!(error.contains("training.augmentation") && error.contains("2x"), "{error}");
    }
}

#[test]
fn faults_are_named() {
    let none = Augmentation::default();
    let erase = Erase::default();
    assert_eq!(everything().fault(), None);
    for (faulty, key) in [
        (Augmentation { rotation: -1.0, ..none }, "rotation"),
        (Augmentation { shift: f64::NAN, ..none }, "shift"),
        (Augmentation { scale: [0.0, 1.0], ..none }, "scale"),
        (Augmentation { scale: [1.2, 0.9], ..none }, "scale"),
        (Augmentation { shear: 90.0, ..none }, "shear"),
        (Augmentation { flip: 1.5, ..none }, "flip"),
        (Augmentation { outside: f64::INFINITY, ..none }, "outside"),
        (Augmentation { erase: Some(Erase { area: [0.5, 0.2], ..erase }), ..none }, "erase.area"),
        (Augmentation { erase: Some(Erase { aspect: [0.0, 1.0], ..erase }), ..none }, "erase.aspect"),
        (Augmentation { erase: Some(Erase { probability: -0.1, ..erase }), ..none }, "erase.probability"),
    ] {
        assert_eq!(faulty.fault().map(|(key, ..)| key), Some(key));
    }
}
