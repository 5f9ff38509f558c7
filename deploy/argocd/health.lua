-- What Argo CD shows of Ottla's Clusters, Topics, Users and Connectors, from the conditions that the operator writes.
--
-- Healthy      it is what Git declares, and serves
-- Progressing  the operator works on it: a start, a roll, a move; a roll is never Degraded
-- Suspended    somebody has paused it or put it to sleep by annotation
-- Degraded     a person has to see to it; the message names the thing and the way out
if obj.status == nil or obj.status.conditions == nil then
  return {status = "Progressing", message = "the operator has not looked at it yet"}
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not looked at the newest declaration yet"}
end
local is = {}
for _, condition in ipairs(obj.status.conditions) do
  is[condition.type] = condition
end
local ready, reconciling, stalled = is.Ready, is.Reconciling, is.Stalled
if stalled ~= nil and stalled.status == "True" then
  return {status = "Degraded", message = stalled.message}
end
if obj.metadata.annotations ~= nil and obj.metadata.annotations["ottla.dev/pause"] == "true" then
  local waits = reconciling ~= nil and reconciling.status == "True"
  return {status = "Suspended", message = waits and reconciling.message or "annotated ottla.dev/pause=true"}
end
if ready ~= nil and ready.reason == "Hibernated" then
  return {status = "Suspended", message = ready.message}
end
if reconciling ~= nil and reconciling.status == "True" then
  return {status = "Progressing", message = reconciling.message}
end
if ready ~= nil and ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
return {status = "Degraded", message = ready ~= nil and ready.message or "the condition Ready is missing"}
