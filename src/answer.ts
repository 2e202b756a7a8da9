/** One thing that happened while a request was answered. `finish` is the last. */
export type Event = { type: 'reasoning' | 'text'; text: string } | { type: 'finish'; answer: Answer }

/** A whole answer. */
export interface Answer {
  /** What follows the thoughts. */
  text: string
  /** The thoughts, when `thinking` was asked for or the model thought unasked. */
  reasoning?: string
  /** `stop`: the model ended it, or a stop string came up. `length`: a limit was reached. `abort`: the caller left. */
  finishReason: 'stop' | 'length' | 'abort'
  usage: {
    /** Tokens of the whole prompt, pictures included. */
    promptTokens: number
    /** Of these, rows that hold picture features. */
    imageTokens: number
    /** Of the prompt's tokens, those that needed no computing. */
    cachedTokens: number
    /** Sampled tokens, thoughts and end token included. */
    completionTokens: number
    /** Of these, tokens of the thoughts. */
    reasoningTokens: number
  }
  /** Milliseconds. */
  timings: {
    /** Waiting for a place among the running requests. */
    queue: number
    /** Decoding, resizing and tokenising. */
    preprocess: number
    /** From the call to the first token. */
    firstToken: number
    /** From the call to the end. */
    total: number
  }
  /** One entry a sampled token, when `logprobs` was asked for. */
  logprobs?: TokenLogprob[]
}

/** A sampled token and its likeliest rivals, best first. */
export interface TokenLogprob {
  chosen: Alternative
  top: Alternative[]
}

/** A token with its log-probability before penalty, temperature and cuts. */
export interface Alternative {
  id: number
  /** Bytes that are no whole character are shown as U+FFFD. */
  text: string
  logprob: number
}

/** What was said when nothing was. */
export function unsaid(): Answer {
  return {
    text: '',
    finishReason: 'abort',
    usage: { promptTokens: 0, imageTokens: 0, cachedTokens: 0, completionTokens: 0, reasoningTokens: 0 },
    timings: { queue: 0, preprocess: 0, firstToken: 0, total: 0 },
  }
}
