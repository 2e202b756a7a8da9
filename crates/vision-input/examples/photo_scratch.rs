use karst_contract::Frame; use karst_vision_input::*; use std::time::Instant;
fn cpu()->f64{ let s=std::fs::read_to_string("/proc/self/schedstat").unwrap(); let _=s; let mut t=0.0; for d in std::fs::read_dir("/proc/self/task").unwrap(){ let s=std::fs::read_to_string(d.unwrap().path().join("schedstat")).unwrap(); t+=s.split(' ').next().unwrap().parse::<f64>().unwrap()/1e6;} t }
fn main(){ let (w,h)=(4032u32,3024u32); let mut x=1u32; let fr=Frame::new(w,h,(0..w*h*3).map(|_|{x^=x<<13;x^=x>>17;x^=x<<5;(x>>24) as u8}).collect::<Vec<_>>()).unwrap();
 let s=plan(Size{width:w,height:h},9,&Settings::default()).unwrap(); println!("{s:?}");
 for th in [1usize,2]{ let pool=rayon::ThreadPoolBuilder::new().num_threads(th).build().unwrap(); 
  let m=|name:&str,f:&(dyn Fn()+Sync)|{ pool.install(||{ f(); let mut wall=f64::MAX; let mut c=f64::MAX; for _ in 0..25 { let c0=cpu(); let t=Instant::now(); f(); wall=wall.min(t.elapsed().as_secs_f64()*1e3); c=c.min(cpu()-c0);} println!("{th} thread(s) {name}: wall {wall:.1} ms, cpu {c:.1} ms"); }) };
  m("views",&||{std::hint::black_box(views(&fr,&s,&Settings::default()));});
  let px=resize::Pixels{rgb:fr.rgb(),width:w as usize,height:h as usize};
  m("overview resize",&||{std::hint::black_box(resize::bicubic(px,s.overview.width as usize,s.overview.height as usize));});
  let r=s.slices.unwrap().refined; m("refined resize",&||{std::hint::black_box(resize::bicubic(px,r.width as usize,r.height as usize));});
 }}
