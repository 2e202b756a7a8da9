import { load } from '../load.js'
import type { Model } from '../model.js'
import { type Flags, loadOptions } from './flags.js'
import { ProgressBar } from './progress.js'

/** Opens the model that the flags name, with a bar while it takes long, does `work` with it, and closes it. */
export async function withModel<T>(flags: Flags, work: (model: Model) => Promise<T>): Promise<T> {
  const name = String(flags.model)
  const bar = new ProgressBar(`Loading ${name}`, process.stderr)
  const model = await load(name, { ...loadOptions(flags), onProgress: (step) => bar.show(step) }).finally(() =>
    bar.clear(),
  )
  try {
    return await work(model)
  } finally {
    await model.close()
  }
}
