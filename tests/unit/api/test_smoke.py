def test_apis(api, tenant):
    found = api("listApis")
    assert found["count"] == len(found["api"])
    print([a["name"] for a in found["api"]])
    assert api("listApis", tenant, name="listasyncjobs")["count"] == 1
    print(api("listCapabilities"))
    assert api("listAsyncJobs", listall=True) == {}


def test_login(api):
    r = api.client.post("/client/api?command=login&username=admin&password=admin-password&response=json")
    print(r.data, r.headers)
    key = r.get_json()["loginresponse"]["sessionkey"]
    r = api.client.get(f"/client/api?command=listApis&name=login&response=json&sessionkey={key}")
    print(r.data, r.status_code)
    assert r.status_code == 200
    r = api.client.get(f"/client/api?command=listApis&name=login&sessionkey={key}")
    print(r.data)
    r = api.client.get(f"/client/api?command=logout&response=json&sessionkey={key}")
    print(r.data, r.headers)
    r = api.client.get(f"/client/api?command=listApis&name=login&sessionkey={key}")
    assert r.status_code == 401
