"""Services and Pods to EndpointSlices, and to Endpoints for those who still read them.

Reads: Service, Pod, EndpointSlice, Endpoints.   Writes: EndpointSlice, Endpoints.
Loop:  keyed.     Flow: endpoints -> plan -> controller.
"""
