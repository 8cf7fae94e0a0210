/** Every decoder of the product that reads what somebody else wrote. */

import { BINLOG_DECODERS } from './binlog-decoders.js'
import { CHUNK_DECODER } from './chunk-decoder.js'
import { CONTROL_DECODERS } from './control-decoders.js'
import { DATA_DECODERS } from './data-decoders.js'
import { DUMP_DECODERS } from './dump-decoders.js'
import { LOGGED_DECODERS } from './logged-decoders.js'
import { ROW_DECODERS } from './row-decoders.js'
import { STREAM_DECODER } from './stream-decoder.js'
import { WIRE_DECODERS } from './wire-decoders.js'
import type { Decoder } from './decoder.js'

export const DECODERS: readonly Decoder[] = [
  ...WIRE_DECODERS,
  CHUNK_DECODER,
  STREAM_DECODER,
  ...CONTROL_DECODERS,
  ...DATA_DECODERS,
  ...ROW_DECODERS,
  ...DUMP_DECODERS,
  ...BINLOG_DECODERS,
  ...LOGGED_DECODERS,
]

export function decoderNamed(name: string): Decoder {
  const decoder = DECODERS.find(one => one.name === name)
  if (decoder) return decoder
  throw new Error(`no decoder is called ${name}; there are ${DECODERS.map(one => one.name).join(', ')}`)
}
