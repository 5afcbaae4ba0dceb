/** The entry point of worker threads. */
import { audioService } from './audio/service.js';
import { leaveWarnings } from './device/addon.js';
import { voiceService } from './vad/service.js';
import { serve } from './workers/serve.js';

leaveWarnings();
serve({ audio: audioService, voice: voiceService });
