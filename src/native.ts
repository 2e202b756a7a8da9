/** The binding: the only place that names the generated loader. */
export * from '../index.js'
