import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { KarstError, settled } from './error.js'
import { Model } from './model.js'
import { NativeModel } from './native.js'
import { nativeOptions, ownOption, signalOf } from './options.js'
import { kindOf } from './values.js'

/** How far a load has come. */
export interface Progress {
  /** What is being done, in one or two words. */
  phase: string
  done: number
  total: number
}

/** How a model is opened. */
export interface LoadOptions {
  /** What computes. Default: `auto`, the best there is. */
  device?: 'auto' | 'cpu' | `cuda:${number}`
  /** Most tokens of a prompt and its answer together. Default: 8192, or the model's if that is less. */
  maxContext?: number
  /** Requests that run at once; others wait. Default: 4 on the processor, 16 on a CUDA device. */
  maxRequests?: number
  /** Called now and then with what is done of what there is. */
  onProgress?: (progress: Progress) => void
  /** Gives up loading. */
  signal?: AbortSignal
}

const MINE = ['onProgress', 'signal']

/** The model that comes with the package. */
const DEMO = fileURLToPath(new URL('../models/demo', import.meta.url))

/** Opens a model: `demo`, or a folder with the files of MiniCPM-V 4.5 as they are published, GPTQ or unquantised. */
export async function load(model: 'demo' | (string & {}), options?: LoadOptions): Promise<Model> {
  const given = nativeOptions('model', options, MINE)
  const isFunction = (value: unknown): value is (progress: Progress) => void => typeof value === 'function'
  const report = ownOption(options, 'onProgress', isFunction, 'a function')
  const signal = signalOf(options)
  signal?.throwIfAborted()
  const folder = await folderOf(model)
  const listener = report && careful(report)
  const opened = settled(() => NativeModel.load(folder, given, listener?.call)).then((native) => new Model(native))
  const loaded = await unlessAborted(opened, signal)
  if (listener?.fault === undefined) return loaded
  await loaded.close()
  throw listener.fault.thrown
}

async function folderOf(model: unknown): Promise<string> {
  if (model === 'demo') return DEMO
  if (typeof model !== 'string') {
    throw new KarstError('model_not_found', `a model is 'demo' or a folder, not ${kindOf(model)}`)
  }
  const looksLikeHub = /^[\w.-]+\/[\w.-]+$/.test(model) && !/^\.\.?\//.test(model)
  if (looksLikeHub && !(await exists(model))) {
    throw new KarstError('model_not_found', `'${model}' is no folder; it looks like a model's name on a hub`, {
      hint: "Models are not downloaded yet: download its files and pass their folder, such as load('/models/MiniCPM-V').",
    })
  }
  return resolve(model)
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

/** A listener called from the binding, where a throw has nobody to catch it: it is kept instead. */
function careful(report: (progress: Progress) => void) {
  const listener = {
    fault: undefined as { thrown: unknown } | undefined,
    call: (progress: Progress) => {
      if (listener.fault !== undefined) return
      try {
        report(progress)
      } catch (thrown) {
        listener.fault = { thrown }
      }
    },
  }
  return listener
}

/** Waits for a model unless the signal comes first; a model that comes too late is closed. */
async function unlessAborted(opened: Promise<Model>, signal: AbortSignal | undefined): Promise<Model> {
  if (signal === undefined) return opened
  let leave = () => {}
  const aborted = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
  })
  try {
    return await Promise.race([opened, aborted])
  } catch (error) {
    void opened.then((model) => model.close()).catch(() => {})
    throw error
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
