/** `await using` looks for this symbol; a Node that lacks it gets it before any class of ours names it. */
if (Symbol.asyncDispose === undefined) {
  Object.defineProperty(Symbol, 'asyncDispose', { value: Symbol.for('Symbol.asyncDispose') })
}
