/** A file's content into blocks and a file object. */

import { EMPTY_ID } from '../../ids.js'
import type { BlockId, FsId } from '../../ids.js'
import type { FileKey } from './encrypt.js'
import type { StoredFile, TreeStore } from './tree-edit.js'

export type FileContent = Uint8Array | AsyncIterable<Uint8Array>

export interface Blocks {
  /** Of plain text, of every block but the last. */
  readonly blockBytes: number
  /** Null in a plain library. */
  readonly fileKey: FileKey | null
}

/** Holds one block of the content in memory. Its blocks are on disk before the object that names them. */
export async function storeFile(store: TreeStore, content: FileContent, blocks: Blocks): Promise<StoredFile> {
  const ids: BlockId[] = []
  let size = 0
  for await (const plain of cut(content, blocks.blockBytes)) {
    size += plain.byteLength
    ids.push(store.writer.putBlock(store.storeId, blocks.fileKey ? blocks.fileKey.encrypt(plain) : plain))
  }
  if (size === 0) return { id: EMPTY_ID as FsId, size }
  return { id: store.writer.putFs(store.storeId, { type: 'file', size, blocks: ids }), size }
}

/** Pieces of `blockBytes`, the last one shorter, none empty. */
async function* cut(content: FileContent, blockBytes: number): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array[] = []
  let room = blockBytes
  for await (const chunk of content instanceof Uint8Array ? [content] : content) {
    let at = 0
    while (chunk.byteLength - at >= room) {
      yield joined([...waiting, chunk.subarray(at, at + room)])
      at += room
      waiting = []
      room = blockBytes
    }
    if (at === chunk.byteLength) continue
    waiting.push(chunk.subarray(at))
    room -= chunk.byteLength - at
  }
  if (waiting.length > 0) yield joined(waiting)
}

const joined = (parts: readonly Uint8Array[]): Uint8Array =>
  parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts)
