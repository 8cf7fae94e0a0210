/** A primary's catalog that knows when a head last moved: the moment at which a Seafile server answers its client. */

import type { CatalogWriter } from '../../src/shared/catalog/catalog.js'

export interface TimedCatalog {
  readonly catalog: CatalogWriter
  /** By `performance.now()`; NaN: not yet. */
  movedAt(): number
}

export function timedCatalog(catalog: CatalogWriter): TimedCatalog {
  let at = NaN
  const timed = new Proxy(catalog, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      if (name !== 'updateBranch') return value.bind(target) as unknown
      return async (...args: Parameters<CatalogWriter['updateBranch']>) => {
        const moved = await target.updateBranch(...args)
        at = performance.now()
        return moved
      }
    },
  })
  return { catalog: timed, movedAt: () => at }
}
