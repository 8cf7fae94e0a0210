/**
 * What a value of seafile.conf may be: one reader per kind of value.
 *
 * A reader gives the value in the unit used inside (milliseconds, bytes) or
 * adds one problem, "[section] key rule, found …", and gives a stand-in that
 * nobody will use, because a config with a problem is refused whole. Values of
 * secret keys are never repeated in a problem.
 */

import { accessSync, constants, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { reason, systemCode } from './errors.js'
import type { KeyFile } from './key-file.js'

export interface ListenAddress {
  /** Without brackets, also for IPv6. */
  readonly host: string
  /** 0: any free one. */
  readonly port: number
}

export interface NumberRule {
  readonly min: number
  /** The value must be above `min`, not at it. */
  readonly above?: boolean
  readonly max: number
  readonly default: number
  readonly unit: string
  /** Only whole numbers. */
  readonly whole?: boolean
  /** 0 stands for no limit, and is allowed although `min` is above it. */
  readonly orZero?: boolean
}

/** 40 hex characters, as `openssl rand -hex 20` makes them. */
const SYNC_TOKEN = /^[0-9a-f]{40}$/i
const RATE = /^(\d+(?:\.\d+)?)\s*([kmg]?)$/i
const RATE_UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }
const LISTEN = /^(?:\[([0-9a-f:.%a-z]+)\]|([^\s:[\]/]+)):(\d{1,5})$/i
const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)$/

/** Of a database: what needs no quoting anywhere; of a file: relative, and nowhere upwards. */
const NAME = /^[A-Za-z0-9_$][A-Za-z0-9_$.-]*(\/[A-Za-z0-9_$][A-Za-z0-9_$.-]*)*$/

/** The one in use, and the one that it replaces. */
export const TOKENS_MAX = 2
const TOKEN_RULE = 'must be 40 hex characters, the same on both sides (make one: openssl rand -hex 20)'

export class Section {
  constructor(
    readonly name: string,
    readonly file: KeyFile,
    readonly problems: string[],
  ) {}

  text(key: string): string | undefined {
    return this.file.get(this.name, key)
  }

  problem(key: string, rule: string, found?: string): void {
    const end = found === undefined ? '' : `, found ${JSON.stringify(found.slice(0, 80))}`
    this.problems.push(`[${this.name}] ${key} ${rule}${end}`)
  }

  number(key: string, rule: NumberRule): number {
    const text = this.text(key)
    if (text === undefined) return rule.default
    const value = NUMBER.test(text) ? Number(text) : NaN
    const enough = rule.above ? value > rule.min : value >= rule.min
    if (enough && value <= rule.max && (!rule.whole || Number.isInteger(value))) return value
    if (rule.orZero && value === 0) return 0
    const kind = rule.whole ? 'a whole number' : 'a number'
    const from = rule.above ? `above ${rule.min} up to` : `from ${rule.min} to`
    const orZero = rule.orZero ? ' or 0 (no limit)' : ''
    this.problem(key, `must be ${kind} (${rule.unit}) ${from} ${rule.max}${orZero}`, text)
    return rule.default
  }

  /**
   * One, or two separated by commas or spaces while the first replaces the second. In lower case: the two sides must
   * have the same characters. Never repeated in a problem, but for their lengths.
   */
  syncTokens(key: string): readonly string[] {
    const tokens = (this.text(key) ?? '').split(/[\s,]+/).filter(token => token !== '')
    const lengths = tokens.map(token => token.length).join(' and ')
    if (tokens.length === 0) this.problem(key, `${TOKEN_RULE}; it is not set`)
    else if (tokens.length > TOKENS_MAX)
      this.problem(key, `${TOKEN_RULE}; there are ${tokens.length}, and two at most while one replaces the other`)
    else if (!tokens.every(token => SYNC_TOKEN.test(token)))
      this.problem(key, `${TOKEN_RULE}; it has ${lengths} characters`)
    return tokens.map(token => token.toLowerCase())
  }

  /** One or more, separated by commas or spaces; at least one, or a problem. */
  urls(key: string, protocols: Readonly<Record<string, string>>): readonly URL[] {
    const texts = (this.text(key) ?? '').split(/[\s,]+/).filter(text => text !== '')
    if (texts.length === 0) return [this.#parsedUrl(key, protocols, undefined)]
    return texts.map(text => this.#parsedUrl(key, protocols, text))
  }

  /** `protocols` says what each accepted one stands for, as in { 'http:': 'ws:', 'ws:': 'ws:' }. */
  url(key: string, protocols: Readonly<Record<string, string>>): URL {
    return this.#parsedUrl(key, protocols, this.text(key))
  }

  #parsedUrl(key: string, protocols: Readonly<Record<string, string>>, text: string | undefined): URL {
    const names = Object.keys(protocols).map(p => `${p}//`)
    const rule = `must be a URL that begins with ${names.join(' or ')}`
    const url = text === undefined ? null : URL.parse(text)
    const protocol = url === null ? undefined : protocols[url.protocol]
    if (url === null || protocol === undefined) {
      if (text === undefined) this.problem(key, `${rule}; it is not set`)
      else if (text.includes('@'))
        this.problem(key, rule) // there may be a password in it
      else this.problem(key, rule, text)
    } else if (url.username !== '' || url.password !== '') {
      this.problem(key, 'must not hold a user or a password: the two sides know each other by sync_token')
    } else if (url.search !== '' || url.hash !== '') {
      this.problem(key, 'must be a plain address, without ? or #', text)
    } else {
      return new URL(protocol + url.href.slice(url.protocol.length))
    }
    return new URL('http://invalid.invalid')
  }

  /** One of these, the first by default; upper and lower case are the same. */
  word<const T extends string>(key: string, words: readonly [T, ...T[]]): T {
    const text = this.text(key)
    if (text === undefined) return words[0]
    const word = words.find(one => one === text.toLowerCase())
    if (word === undefined) this.problem(key, `must be ${words.join(' or ')}`, text)
    return word ?? words[0]
  }

  /** Separated by commas or spaces; null when the key is not set. */
  names(key: string): readonly string[] | null {
    const text = this.text(key)
    if (text === undefined) return null
    const names = text.split(/[\s,]+/).filter(name => name !== '')
    const strange = names.find(name => !NAME.test(name))
    if (strange !== undefined) this.problem(key, "must be names (or paths below Seafile's directory)", strange)
    return Object.freeze(names)
  }

  listen(key: string, otherwise: ListenAddress): ListenAddress {
    const text = this.text(key)
    if (text === undefined) return otherwise
    const match = LISTEN.exec(text)
    const port = Number(match?.[3])
    const host = match?.[1] ?? match?.[2]
    if (host !== undefined && port <= 65_535) return { host, port }
    this.problem(key, 'must be host:port with a port up to 65535, and an IPv6 address in [brackets]', text)
    return otherwise
  }

  /** Bytes a second; 0: unlimited. */
  rate(key: string): number {
    const text = this.text(key)
    if (text === undefined) return 0
    const [, digits, suffix] = RATE.exec(text) ?? []
    if (digits !== undefined) return Math.round(Number(digits) * (RATE_UNITS[suffix?.toLowerCase() ?? ''] ?? 1))
    this.problem(key, 'must be bytes a second, as 500k, 20M or 1G (0: unlimited)', text)
    return 0
  }

  /** A file that can be read now; relative to `dir`. */
  readableFile(key: string, dir: string): string | null {
    const text = this.text(key)
    if (text === undefined) return null
    const path = resolve(dir, text)
    try {
      accessSync(path, constants.R_OK)
      if (!statSync(path).isFile()) this.problem(key, 'must be a file', path)
    } catch (error) {
      this.problem(key, `must be a file that can be read (${systemCode(error) ?? reason(error)})`, path)
    }
    return path
  }
}
