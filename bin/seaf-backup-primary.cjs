#!/usr/bin/env node
'use strict'

require('./run.cjs')('dist/src/primary/main.js')
