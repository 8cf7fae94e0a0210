/** Chunks, plain and packed, as the backup reads them of an agent. */

import fc from 'fast-check'
import { CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkReader, packed } from '../../src/shared/wire/chunks.js'
import { buffer, plainChunk } from '../shared/wire/support.js'
import { byteCases, coded, piecesOf } from './decoder.js'
import type { Decoder } from './decoder.js'

const piece = fc.oneof(
  buffer({ maxLength: 60 }),
  fc.nat(3_000).map(size => Buffer.alloc(size, 'directory ')),
)
type Piece = readonly [bytes: Buffer, isPacked: boolean]
const chunkOf = ([bytes, isPacked]: Piece): Buffer =>
  isPacked && bytes.byteLength > 0 ? packed(plainChunk(bytes)) : plainChunk(bytes)

/** What comes before the stream ends or is refused; in pieces and whole it must be the same. */
function readChunks(input: Buffer): Buffer {
  const read = (received: Iterable<Buffer>): { stream: Buffer; refused: unknown } => {
    const reader = new ChunkReader()
    const parts: Buffer[] = []
    try {
      for (const bytes of received) for (const part of reader.push(bytes)) parts.push(Buffer.from(part))
    } catch (refused) {
      return { stream: Buffer.concat(parts), refused }
    }
    return { stream: Buffer.concat(parts), refused: undefined }
  }
  const [pieces, whole] = [read(piecesOf(input)), read([input])]
  if (!pieces.stream.equals(whole.stream)) throw new Error('other bytes in pieces than whole')
  if (String(pieces.refused) !== String(whole.refused)) throw new Error('refused in another way in pieces than whole')
  if (whole.refused instanceof Error) throw whole.refused
  return whole.stream
}

export const CHUNK_DECODER: Decoder = {
  name: 'chunks',
  cases: byteCases<readonly Piece[]>(
    fc.array(fc.tuple(piece, fc.boolean()), { maxLength: 4 }),
    pieces => Buffer.concat(pieces.map(chunkOf)),
    pieces => Buffer.concat(pieces.map(([bytes]) => bytes)),
  ),
  decode: readChunks,
  refuses: coded('PROTOCOL_BROKEN'),
  right: (stream: Buffer, input) =>
    stream.byteLength <= Math.max(1, input.byteLength / CHUNK_HEADER_BYTES) * CHUNK_BYTES,
}
