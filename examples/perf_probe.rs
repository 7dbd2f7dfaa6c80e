use std::time::Instant;
use tch::{Device, Kind, Tensor, nn};
use tch_spiking::{NetworkSpec, SpikingSequential};
fn main() {
    tch::set_num_threads(2);
    let vs = nn::VarStore::new(Device::Cpu);
    let net = SpikingSequential::new(&vs.root(), &NetworkSpec::reference(), 0).unwrap();
    let x = Tensor::rand([200, 1, 28, 28], (Kind::Float, Device::Cpu)) * 255.0;
    let x = x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    let y = Tensor::randint(10, [200], (Kind::Int64, Device::Cpu));
    let mut a = x.shallow_clone();
    for l in net.layers() {
        a = match l.name() {
            _ => l.rates_probe(&a),
        };
        println!("{} {:?} stride {:?}", l.name(), a.size(), a.stride());
    }
    for r in 0..12 {
        let t = Instant::now();
        let out = net.forward_training(&x).unwrap();
        let f = t.elapsed().as_secs_f64() * 1e3;
        let loss = out.cross_entropy_for_logits(&y);
        loss.backward();
        let b = t.elapsed().as_secs_f64() * 1e3;
        for (_, mut p) in net.named_parameters() {
            p.zero_grad();
        }
        if r > 3 {
            println!("forward {f:.1} ms, with backward {b:.1} ms");
        }
    }
    let t = Instant::now();
    let xx = x.narrow(0, 0, 100);
    let r = net.simulate(&xx, 30, &[]).unwrap();
    println!("simulate 100x30: {:.2} s {:?}", t.elapsed().as_secs_f64(), r.output.size());
    // per-layer
    let mut a = xx.shallow_clone();
    tch::no_grad(|| {
        for l in net.layers() {
            let t = Instant::now();
            let n = l.rates_probe(&a);
            println!("{} fwd(100) {:.2} ms", l.name(), t.elapsed().as_secs_f64() * 1e3);
            a = n;
        }
    });
}
