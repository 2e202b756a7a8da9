/** What was opened, and on what. Sizes of memory are in bytes. */
export interface Info {
  device: {
    /** As it is chosen: `cpu`. */
    name: string
    /** In words. */
    description: string
    /** Why this one. */
    why: string
  }
  model: {
    /** The name of its folder. */
    name: string
    /** How the decoder's weights are stored. */
    quantization: string
    bytes: number
    layers: number
    hidden: number
    heads: number
    kvHeads: number
    vocabulary: number
    visionLayers: number
    visionHidden: number
    /** Longest context that the model was made for. */
    maxPositions: number
  }
  memory: {
    weights: number
    /** Keys and values. */
    cache: number
  }
  limits: {
    /** Tokens of a prompt and its answer. */
    maxContext: number
    /** Requests that run at once. */
    maxRequests: number
    /** Requests that may wait. */
    maxWaiting: number
    /** Tokens of all running requests together. */
    cacheTokens: number
    /** Most slices of a picture that names no number. */
    maxSlices: number
  }
}

/** What a conversation becomes before the model sees it. */
export interface Inspection {
  /** Its pictures and clips, in their order. */
  parts: PartInspection[]
  /** Tokens of the whole prompt. */
  promptTokens: number
  /** Of these, rows that hold picture features. */
  imageTokens: number
  /** Most tokens of the answer: what was asked for, or what the context leaves; 0 if the prompt does not fit. */
  maxTokens: number
  /** Tokens that the context has. */
  maxContext: number
  /** Bytes of the key-value cache for prompt and answer. */
  cacheBytes: number
  /** Bytes of all views' samples. */
  pixelBytes: number
}

/** A still or a clip, and where it stands: both indices count from 0. */
export interface PartInspection {
  message: number
  part: number
  type: 'image' | 'clip'
  /** The still, or the groups of the clip's frames. */
  groups: Group[]
}

/** A still, or frames of a clip that share their tokens. */
export interface Group {
  /** Sides of the picture, or of each frame. */
  size: Size
  /** Frames; 1 for a still. */
  frames: number
  /** Temporal ids of the frames, in tenths of a second. */
  times?: number[]
  /** The number shown before it in the prompt. */
  imageId?: number
  /** How it is sliced. */
  grid?: { columns: number; rows: number }
  /** Sizes of the views, the overview first; each frame has them all. */
  views: Size[]
  /** Patches of all views of all frames. */
  patches: number
  /** Rows in the prompt that hold its features. */
  tokens: number
}

/** Sides in pixels. */
export interface Size {
  width: number
  height: number
}
