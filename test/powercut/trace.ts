/**
 * What a traced process did to the files below one directory, from the text that strace wrote.
 *
 * A call counts from its end; when it began is kept too, for a sync makes
 * durable only what had ended before it began. A call that the model does not
 * know and that could change a file is an error: what is left out silently
 * would make every crash state wrong.
 */

import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { resolve } from 'node:path'

export type Act =
  | { readonly kind: 'open'; readonly path: string; readonly create: boolean; readonly truncate: boolean }
  | { readonly kind: 'write'; readonly path: string; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly path: string; readonly size: number }
  | { readonly kind: 'rename' | 'link'; readonly from: string; readonly path: string }
  | { readonly kind: 'unlink' | 'mkdir' | 'rmdir'; readonly path: string }
  /** fsync or fdatasync, of a file or a directory. */
  | { readonly kind: 'sync'; readonly path: string }
  /** syncfs or sync: of the whole file system. */
  | { readonly kind: 'syncAll' }
  /** A line on standard output or standard error. */
  | { readonly kind: 'said'; readonly text: string }

export type Operation = Act & {
  /** Places in the order of the trace. */
  readonly begun: number
  readonly at: number
}

export interface Trace {
  readonly operations: readonly Operation[]
  /** Begun and not ended when the process was killed: each happened or not. */
  readonly perhaps: readonly Operation[]
}

export const TRACED_CALLS = [
  'open,openat,openat2,creat,write,writev,pwrite64,pwritev,pwritev2,truncate,ftruncate,fallocate',
  'rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir',
  'fsync,fdatasync,sync_file_range,sync,syncfs,copy_file_range,sendfile,splice,mmap',
].join(',')

/** Of no use after a crash (an index that SQLite makes anew, hints that prove nothing), or no file at all. */
const NOT_KEPT = /-shm$|\/blocks\.idx$|\/control\.sock[^/]*$|\/lock(-journal)?$/

export const isKept = (path: string): boolean => !NOT_KEPT.test(path)

interface Call {
  readonly name: string
  readonly args: readonly string[]
  /** Undefined: it had not ended. */
  readonly result: number | undefined
}

/** `start`: the place of the first line, so that the traces of several processes can follow one another. */
export async function readTrace(file: string, root: string, start = 0): Promise<Trace> {
  const reader = new TraceReader(root)
  let line = start
  for await (const text of createInterface({ input: createReadStream(file, 'latin1'), crlfDelay: Infinity }))
    reader.line(text, line++)
  return reader.end(line)
}

export class TraceReader {
  readonly #operations: Operation[] = []
  readonly #perhaps: Operation[] = []
  readonly #unfinished = new Map<string, { readonly begun: number; readonly text: string }>()
  /** Where the next write(2) on a descriptor goes. Only the traced program writes files; what it starts reads. */
  readonly #positions = new Map<string, number>()

  constructor(private readonly root: string) {}

  line(line: string, at: number): void {
    const space = line.indexOf(' ')
    const [pid, text] = [line.slice(0, space), line.slice(space).trimStart()]
    if (text.startsWith('+++') || text.startsWith('---') || text === '') return
    if (text.endsWith('<unfinished ...>')) {
      this.#unfinished.set(pid, { begun: at, text: text.slice(0, -'<unfinished ...>'.length) })
      return
    }
    const resumed = /^<\.\.\. \w+ resumed>/.exec(text)
    const before = resumed && this.#unfinished.get(pid)
    if (resumed && !before) throw new Error(`a call is resumed that did not begin: ${text.slice(0, 100)}`)
    this.#unfinished.delete(pid)
    const whole = resumed && before ? before.text + text.slice(resumed[0].length) : text
    this.#add(callOf(whole), before?.begun ?? at, at)
  }

  end(at: number): Trace {
    for (const { begun, text } of this.#unfinished.values()) this.#add(callOf(`${text})`), begun, at)
    return { operations: this.#operations, perhaps: this.#perhaps }
  }

  #add(call: Call, begun: number, at: number): void {
    if (call.result !== undefined && call.result < 0) return
    const to = call.result === undefined ? this.#perhaps : this.#operations
    const act = this.#actOf(call)
    if (act && ('path' in act ? this.#isOurs(act.path) : true)) to.push({ ...act, begun, at })
  }

  #isOurs(path: string): boolean {
    return path === this.root || (path.startsWith(`${this.root}/`) && isKept(path))
  }

  #actOf({ name, args, result }: Call): Act | undefined {
    const [first = '', second = '', third = ''] = args
    switch (name) {
      case 'open':
      case 'creat':
        return this.#open(quoted(first), name === 'creat' ? 'O_WRONLY|O_CREAT|O_TRUNC' : second, result)
      case 'openat':
        return this.#open(pathAt(first, second), third, result)
      case 'write':
        return this.#write(first, second, result)
      case 'pwrite64':
        return { kind: 'write', path: pathOf(first), offset: Number(args[3]), bytes: bytesOf(second, result) }
      case 'ftruncate':
        return { kind: 'truncate', path: pathOf(first), size: Number(second) }
      case 'rename':
      case 'link':
        return { kind: name, from: quoted(first), path: quoted(second) }
      case 'renameat':
      case 'renameat2':
        return { kind: 'rename', from: pathAt(first, second), path: pathAt(third, args[3] ?? '') }
      case 'unlink':
      case 'mkdir':
      case 'rmdir':
        return { kind: name, path: quoted(first) }
      case 'mkdirat':
        return { kind: 'mkdir', path: pathAt(first, second) }
      case 'unlinkat':
        return { kind: third.includes('AT_REMOVEDIR') ? 'rmdir' : 'unlink', path: pathAt(first, second) }
      case 'fsync':
      case 'fdatasync':
        return { kind: 'sync', path: pathOf(first) }
      case 'sync':
      case 'syncfs':
        return { kind: 'syncAll' }
      default:
        return this.#expectHarmless(name, args)
    }
  }

  #open(path: string, flags: string, result: number | undefined): Act {
    if (result !== undefined && /O_WRONLY|O_RDWR/.test(flags)) this.#positions.set(String(result), 0)
    return { kind: 'open', path, create: flags.includes('O_CREAT'), truncate: flags.includes('O_TRUNC') }
  }

  #write(target: string, data: string, result: number | undefined): Act | undefined {
    const fd = target.slice(0, target.indexOf('<'))
    if (fd === '1' || fd === '2') return { kind: 'said', text: bytesOf(data, result).toString('utf8') }
    const path = pathOf(target)
    if (!this.#isOurs(path)) return undefined
    const offset = this.#positions.get(fd)
    if (offset === undefined) throw new Error(`a write to ${path}, which was not seen to be opened`)
    const bytes = bytesOf(data, result)
    this.#positions.set(fd, offset + bytes.byteLength)
    return { kind: 'write', path, offset, bytes }
  }

  #expectHarmless(name: string, args: readonly string[]): undefined {
    const named = args.filter(arg => arg.includes('<')).map(pathOf)
    const readOnlyMap = name === 'mmap' && !(args[3]?.includes('MAP_SHARED') && args[2]?.includes('PROT_WRITE'))
    if (!readOnlyMap && named.some(path => this.#isOurs(path)))
      throw new Error(`${name} of ${named.join(', ')}: the model does not know this call`)
  }
}

/** Strings and paths are written in hexadecimal (-xx): no character of theirs can be taken for one of strace's. */
function callOf(text: string): Call {
  const plain = text.replaceAll('(deleted)', '')
  const open = plain.indexOf('(')
  const close = plain.indexOf(')', open)
  const result = /^\)\s+= (-?\d+)/.exec(plain.slice(close, close + 60))?.[1]
  return {
    name: plain.slice(0, open),
    args: plain.slice(open + 1, close).split(', '),
    result: result === undefined ? undefined : Number(result),
  }
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll('\\x', ''), 'hex')

function quoted(text: string): string {
  return hex(text.slice(1, -1)).toString('utf8')
}

/** Of `17<path>`. */
function pathOf(descriptor: string): string {
  return hex(descriptor.slice(descriptor.indexOf('<') + 1, descriptor.lastIndexOf('>'))).toString('utf8')
}

const pathAt = (directory: string, name: string): string => resolve(pathOf(directory), quoted(name))

function bytesOf(text: string, written: number | undefined): Buffer {
  if (!text.endsWith('"')) throw new Error('strace cut a string short')
  const bytes = hex(text.slice(1, -1))
  return written === undefined ? bytes : bytes.subarray(0, written)
}
