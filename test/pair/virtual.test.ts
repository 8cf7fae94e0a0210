/** Virtual libraries on SQLite. */

import { virtualSuite } from '../support/virtual-suite.js'

virtualSuite('sqlite')
