//! What one JavaScript environment (the main thread, or a worker) has opened, to be ended with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use karst_engine::Engine;
use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;

/// The engines that were opened from one environment.
#[derive(Default)]
pub(crate) struct Environment {
    engines: Mutex<Vec<Weak<Engine>>>,
    ended: AtomicBool,
}

/// A share in an engine. The last one closes it, on a thread of its own: closing waits for the step that runs, and the last
/// share may be dropped by the garbage collector, on the JavaScript thread.
#[derive(Clone)]
pub(crate) struct Share(Option<Arc<Engine>>);

impl Environment {
    /// The environment of this call.
    pub(crate) fn of(env: Env) -> napi::Result<Arc<Self>> {
        let known = env.get_instance_data::<Arc<Self>>()?;
        known.map(|known| Arc::clone(known)).ok_or_else(|| napi::Error::from_reason("the environment has ended"))
    }

    /// Takes an engine that was just opened.
    pub(crate) fn keep(&self, engine: Engine) -> Share {
        let engine = Arc::new(engine);
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.retain(|known| known.strong_count() > 0);
        engines.push(Arc::downgrade(&engine));
        drop(engines);
        if self.ended.load(Ordering::SeqCst) {
            engine.close();
        }
        Share(Some(engine))
    }

    /// Cancels every request and joins every engine, so that nothing runs on when the environment is gone.
    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        let engines = std::mem::take(&mut *self.engines.lock().unwrap_or_else(PoisonError::into_inner));
        for engine in engines.iter().filter_map(Weak::upgrade) {
            engine.close();
        }
    }
}

impl Share {
    pub(crate) fn engine(&self) -> &Engine {
        match &self.0 {
            Some(engine) => engine,
            None => unreachable!("a share has its engine until it is dropped"),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(engine) = self.0.take().and_then(Arc::into_inner) {
            let close = thread::Builder::new().name("karst-close".to_owned()).spawn(move || drop(engine));
            // Without a thread the engine has been dropped here, which only takes longer.
            drop(close);
        }
    }
}

#[napi(module_exports)]
pub fn begin(_exports: Object, env: Env) -> napi::Result<()> {
    let environment = Arc::new(Environment::default());
    env.set_instance_data(Arc::clone(&environment), (), |_| ())?;
    env.add_env_cleanup_hook(environment, |environment| environment.end())?;
    Ok(())
}
