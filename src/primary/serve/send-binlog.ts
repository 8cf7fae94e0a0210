/** The next of the binlog as the answer to the backup. It is read before the answer is begun: what fails is said in its place. */

import { FRAME } from '../../shared/wire/frames.js'
import { LOGGED_BYTES_MAX, encodeBinlogHeader } from '../../shared/wire/binlog-messages.js'
import { FrameWriter } from './frame-writer.js'
import type { StreamSeal } from '../../shared/wire/stream-seal.js'
import type { BinlogAnswer } from '../binlog/read-binlog.js'

export async function sendBinlog(
  { header, pieces }: BinlogAnswer,
  seal: StreamSeal,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const frames = new FrameWriter(seal, write)
  await frames.json(FRAME.binlog, encodeBinlogHeader(header))
  for (const piece of pieces) {
    if (typeof piece === 'string') {
      await frames.json(FRAME.logFile, { name: piece })
      continue
    }
    for (let at = 0; at < piece.byteLength; at += LOGGED_BYTES_MAX) {
      await frames.bytes(FRAME.logged, piece.subarray(at, at + LOGGED_BYTES_MAX))
    }
  }
  await frames.end(false)
  await frames.flush()
}
